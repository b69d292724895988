/* From the one who may mount to the one who may nothing. There is no way back from any of these steps. */

#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static void must(long answer, const char *what) {
    if (answer < 0)
        fail(CANNOT_CONFINE, "cannot give up rights: ", what, ": ", strerror(errno), NULL);
}

static void write_to(int proc, const char *name, const char *text) {
    int file = openat(proc, name, O_WRONLY | O_CLOEXEC);
    must(file, name);
    must(write(file, text, strlen(text)), name);
    close(file);
}

/* bubblewrap made us 0 in the namespace that is left, because the kernel makes no terminals without a 0. */
static void map(int proc, const char *name, const char *inside) {
    char line[64];
    write_to(proc, name, joined(line, sizeof line, ' ', (const char *const[]){inside, "0", "1", NULL}));
}

/* The one below is allowed, and none in it. Before the mounts, which may cover the file. */
void allow_one_namespace(int proc) {
    write_to(proc, "sys/user/max_user_namespaces", "1");
}

/* The mounts belong to the namespace that is left, and nobody has rights in that any more. */
static void enter_namespace(int proc, char **account) {
    must(unshare(CLONE_NEWUSER), "user namespace");
    write_to(proc, "self/setgroups", "deny");
    map(proc, "self/uid_map", account[0]);
    map(proc, "self/gid_map", account[1]);
}

static void drop_capabilities(void) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {0};
    for (unsigned long each = 0; prctl(PR_CAPBSET_DROP, each, 0, 0, 0) == 0; each++)
        ;
    must(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "capabilities");
    must(syscall(SYS_capset, &header, none), "capabilities");
}

void give_up_rights(struct statements config, int proc) {
    char **account = first_of(config, "account");
    if (!account)
        fail(CANNOT_CONFINE, "init failed: nobody is told to be inside", NULL);
    enter_namespace(proc, account);
    close(proc);
    drop_capabilities();
    if (unshare(CLONE_NEWUSER) == 0)
        fail(CANNOT_CONFINE, "self-check: there can be further user namespaces", NULL);
    must(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), "end with the launcher");
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "privileges");
    for (char **filter; (filter = next_of(&config, "base"));)
        load_filter((int)number(filter[0]));
}
