/* The agent's side of the fork: everything that only the agent may not do, then its program. */

#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Since Linux 5.13, the same numbers everywhere; linux/landlock.h. */
enum { LANDLOCK_CREATE = 444, LANDLOCK_ADD_RULE = 445, LANDLOCK_RESTRICT = 446, LANDLOCK_PATH_BENEATH = 1 };
enum { CPU_GRACE_S = 5, CLOSE_RANGE = 436, MOST_DESCRIPTORS = 1 << 16, LONGEST_PATH = 4096, LONGEST_FILTER = 1024 };

static void must(long answer, const char *what) {
    if (answer < 0)
        fail(CANNOT_CONFINE, "cannot confine the agent: ", what, ": ", strerror(errno), NULL);
}

static void forget_signals(void) {
    static const int changed[] = {SIGHUP, SIGINT, SIGTERM, SIGCHLD, SIGPIPE};
    sigset_t none;
    for (size_t at = 0; at < sizeof changed / sizeof *changed; at++)
        signal(changed[at], SIG_DFL);
    sigemptyset(&none);
    must(sigprocmask(SIG_SETMASK, &none, NULL), "signals");
}

static rlim_t lower(rlim_t one, rlim_t other) {
    return one < other ? one : other; /* no limit is the highest number */
}

/* Lower an rlimit, soft and hard; never above what is allowed already. SIGXCPU, which says why, comes before SIGKILL. */
static void limit(int which, rlim_t wanted) {
    struct rlimit held;
    must(getrlimit(which, &held), "limits");
    rlim_t most = lower(held.rlim_max, which == RLIMIT_CPU ? wanted + CPU_GRACE_S : wanted);
    must(setrlimit(which, &(struct rlimit){lower(wanted, most), most}), "limits");
}

static void allow(long ruleset, char **rule) {
    struct {
        uint64_t rights;
        int32_t folder;
    } __attribute__((packed)) beneath = {number(rule[0]), open(rule[1], O_PATH | O_CLOEXEC)};
    must(beneath.folder, rule[1]);
    must(syscall(LANDLOCK_ADD_RULE, ruleset, LANDLOCK_PATH_BENEATH, &beneath, 0), rule[1]);
    close(beneath.folder);
}

/* Landlock: what `landlock` handles is only allowed where an `allow` says so. */
static void restrict_files(struct statements config) {
    char **handled = first_of(config, "landlock");
    if (!handled)
        return;
    uint64_t attributes[3] = {number(handled[1]), 0, number(handled[2])};
    long ruleset = syscall(LANDLOCK_CREATE, attributes, (size_t)number(handled[0]), 0);
    must(ruleset, "Landlock");
    for (char **rule; (rule = next_of(&config, "allow"));)
        allow(ruleset, rule);
    must(syscall(LANDLOCK_RESTRICT, ruleset, 0), "Landlock");
    close((int)ruleset);
}

/* Stack a filter on those that hold already; the descriptor has its instructions. */
void load_filter(int fd) {
    static struct sock_filter instructions[LONGEST_FILTER];
    ssize_t size = read(fd, instructions, sizeof instructions);
    if (size <= 0 || size % (ssize_t)sizeof *instructions || size == sizeof instructions)
        fail(CANNOT_CONFINE, "cannot confine the agent: its filter is not understood", NULL);
    struct sock_fprog program = {(unsigned short)(size / (ssize_t)sizeof *instructions), instructions};
    must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0), "system-call filter");
    close(fd);
}

/* `/dev/null` that came along is the host's own; the one inside has a mode that nobody can change. */
static void replace_null(void) {
    struct stat inside, held;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    must(null, "/dev/null");
    must(fstat(null, &inside), "/dev/null");
    for (int fd = 0; fd < 3; fd++)
        if (!fstat(fd, &held) && S_ISCHR(held.st_mode) && held.st_rdev == inside.st_rdev)
            must(dup2(null, fd), "/dev/null");
}

static void close_all(void) {
    if (syscall(CLOSE_RANGE, 3, ~0U, 0) == 0)
        return;
    for (int fd = 3; fd < MOST_DESCRIPTORS; fd++)
        close(fd);
}

static noreturn void become_agent(struct statements config, char **argv) {
    struct statements rest = config;
    must(setsid(), "session");
    forget_signals();
    for (char **limited; (limited = next_of(&rest, "rlimit"));)
        limit((int)number(limited[0]), number(limited[1]));
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "privileges");
    replace_null();
    restrict_files(config);
    for (char **filter; (filter = next_of(&config, "filter"));)
        load_filter((int)number(filter[0]));
    close_all();
    execute(argv);
}

/* Try one file. Returns why it was not executed, or what was known before if it is not there. */
static int tried(const char *file, char **argv, int reason) {
    extern char **environ;
    execve(file, argv, environ);
    return errno == ENOENT || errno == ENOTDIR ? reason : errno;
}

static int tried_in_path(const char *folders, char **argv) {
    char file[LONGEST_PATH];
    int reason = ENOENT;
    for (const char *end; folders; folders = *end ? end + 1 : NULL) {
        end = strchrnul(folders, ':');
        size_t length = (size_t)(end - folders);
        if (length + strlen(argv[0]) + 2 > sizeof file)
            continue;
        memcpy(file, folders, length);
        file[length] = '/';
        strcpy(file + length + 1, argv[0]);
        reason = tried(file, argv, reason);
    }
    return reason;
}

noreturn void execute(char **argv) {
    extern char **environ;
    const char *path = "/usr/bin:/bin";
    for (char **variable = environ; *variable; variable++)
        if (!strncmp(*variable, "PATH=", 5))
            path = *variable + 5;
    int reason = strchr(argv[0], '/') ? tried(argv[0], argv, ENOENT) : tried_in_path(path, argv);
    const char *what = reason == ENOENT ? "no such program" : strerror(reason);
    fail(reason == ENOENT ? NOT_FOUND : CANNOT_EXECUTE, "cannot run ", argv[0], ": ", what, NULL);
}

pid_t start_agent(struct statements config, char **argv) {
    pid_t agent = fork();
    if (agent == 0)
        become_agent(config, argv);
    must(agent, "fork");
    return agent;
}
