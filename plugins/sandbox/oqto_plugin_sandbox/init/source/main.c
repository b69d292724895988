/* The order in which a sandbox comes to life, and the step before bubblewrap. */

#include "init.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Join the control groups that were made for this session, through descriptors opened outside. */
static void enter_groups(struct statements config) {
    for (char **group; (group = next_of(&config, "group"));) {
        int fd = (int)number(group[0]);
        if (write(fd, "0", 1) != 1)
            fail(CANNOT_CONFINE, "cannot enter the control group: ", strerror(errno), NULL);
        close(fd);
    }
}

/*
 * Outside, before bubblewrap: its monitor inherits that it ignores these signals. The runner signals the whole
 * process group; without this the monitor would die first and take the agent along before it can flush.
 */
static noreturn void shield(char **argv) {
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    execute(argv);
}

/* Only where bubblewrap left that to us: then it also left the rights. */
static void make_sandbox(struct statements config) {
    char **folder = first_of(config, "cwd");
    if (!folder)
        return;
    give_up_rights(config, make_root(config));
    if (chdir(folder[0]))
        fail(CANNOT_CONFINE, "cannot enter ", folder[0], ": ", strerror(errno), NULL);
}

int main(int count, char **argv) {
    if (count < 3)
        fail(CANNOT_CONFINE, "init failed: it is started by the sandbox alone", NULL);
    if (!strcmp(argv[1], "shield"))
        shield(argv + 2);
    prctl(PR_SET_NAME, "oqto-init", 0, 0, 0); /* for lists of processes: the name of its file is a number */
    struct statements config = read_config((int)number(argv[1]));
    enter_groups(config);
    make_sandbox(config);
    check_mounts(config);
    check_process(config);
    if (first_of(config, "trial"))
        return 0;
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
        fail(CANNOT_CONFINE, "cannot hide the first process: ", strerror(errno), NULL);
    int poll = epoll_create1(EPOLL_CLOEXEC);
    int signals = watch_signals(poll);
    listen_for(config, poll);
    supervise(config, start_agent(config, argv + 2), poll, signals);
}
