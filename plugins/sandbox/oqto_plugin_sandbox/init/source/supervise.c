/* Waits for the agent, passes signals on, ends it when its time is over, and tells why it died. */

#include "init.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { GRACE_MS = 5000, SETTLE_MS = 50, PAUSE_MS = 20, COUNT_MS = 500 };
enum { MOST_NAMES = 64, LONGEST_NAME = 64, LONGEST_REPORT = 4096, BATCH = 64 };

static struct {
    struct statements config;
    pid_t agent;
    int report;
    const char *limit;   /* the one that ends the agent at that time; NULL: none */
    const char *limit_s;
    long long ends_at_ms;
    char **cpu; /* NULL: nothing counts the processor time of all processes, or it is used up */
    long long cpu_before_ms, counts_at_ms;
    long long listens_at_ms; /* 0: nothing pauses */
    int signal_at_end;
} self = {.report = -1, .signal_at_end = SIGTERM};

static long long now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* To the launcher's side. A pipe that is full or that nobody reads is no reason to wait. */
static void report(const char *const *words) {
    char line[LONGEST_REPORT];
    size_t length = strlen(joined(line, sizeof line, '\t', words));
    line[length - 1] = '\n';
    if (self.report >= 0 && write(self.report, line, length) < 0)
        return;
}

/* To the agent's process group; to itself alone as long as it has none. */
static void tell(int which) {
    if (kill(-self.agent, which))
        kill(self.agent, which);
}

/* SIGTERM first, SIGKILL after the grace period. */
static void time_is_over(void) {
    say("ended: ", strcmp(self.limit, "wall") ? "processor time" : "wall clock", " limit ", self.limit_s, " s", NULL);
    report((const char *const[]){self.limit, NULL});
    tell(self.signal_at_end);
    self.signal_at_end = SIGKILL;
    self.ends_at_ms += GRACE_MS;
}

static bool is_number(const char *text) {
    return *text && !text[strspn(text, "0123456789")];
}

/* Copies the name of a process that is alive, as `/proc/PID/stat` has it, without what would break a line. */
static bool name_of(const char *pid, char *into) {
    char path[LONGEST_NAME], stat[1024];
    if (!read_file(joined(path, sizeof path, 0, (const char *const[]){"/proc/", pid, "/stat", NULL}), stat, sizeof stat))
        return false;
    char *name = strchr(stat, '('), *end = strrchr(stat, ')');
    if (!name || !end || !end[1] || end[2] == 'Z' || end[2] == 'X')
        return false;
    *end = '\0';
    strncpy(into, name + 1, LONGEST_NAME - 1);
    for (char *at = into; (at = strpbrk(at, "\t\n"));)
        *at = ' ';
    return true;
}

/* Names of the other processes that live in here. */
static int running(char names[MOST_NAMES][LONGEST_NAME]) {
    DIR *folder = opendir("/proc");
    int count = 0;
    if (!folder)
        return 0;
    memset(names, 0, MOST_NAMES * sizeof *names);
    for (struct dirent *entry; count < MOST_NAMES && (entry = readdir(folder));)
        if (is_number(entry->d_name) && strcmp(entry->d_name, "1"))
            count += name_of(entry->d_name, names[count]);
    closedir(folder);
    return count;
}

/* What still runs ends with this process. A moment for those that got the agent's signal, too. */
static void report_rest(void) {
    static char names[MOST_NAMES][LONGEST_NAME];
    const char *words[MOST_NAMES + 2] = {"rest"};
    if (self.report < 0 || !running(names))
        return;
    nanosleep(&(struct timespec){.tv_nsec = SETTLE_MS * 1000000L}, NULL);
    int count = running(names);
    for (int at = 0; at < count; at++)
        words[at + 1] = names[at];
    if (count)
        report(words);
}

static bool counts_a_kill(int fd) {
    char counts[4096];
    ssize_t size = pread(fd, counts, sizeof counts - 1, 0);
    counts[size > 0 ? size : 0] = '\0';
    for (char *line = counts; (line = strstr(line, "oom_kill ")); line++)
        if (line == counts || line[-1] == '\n')
            return strtoul(line + strlen("oom_kill "), NULL, 10) > 0;
    return false;
}

static void explain_kill(void) {
    struct statements rest = self.config;
    for (char **cause; (cause = next_of(&rest, "cause"));)
        if (counts_a_kill((int)number(cause[0]))) {
            say("killed: ", cause[1], NULL);
            return;
        }
}

static noreturn void finish(int status) {
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        explain_kill();
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU)
        say("killed: processor time limit of one process", NULL);
    report_rest();
    _exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

static void reap(void) {
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        if (pid == self.agent)
            finish(status);
}

static void take_signals(int signals) {
    struct signalfd_siginfo received;
    while (read(signals, &received, sizeof received) == sizeof received) {
        if (received.ssi_signo == SIGCHLD)
            reap();
        else
            tell((int)received.ssi_signo);
    }
}

/* Version 2 of control groups counts microseconds with a name before them, version 1 nanoseconds. */
static long long cpu_ms(int counter) {
    char text[4096];
    ssize_t size = pread(counter, text, sizeof text - 1, 0);
    text[size > 0 ? size : 0] = '\0';
    const char *named = strstr(text, "usage_usec ");
    return named ? strtoll(named + strlen("usage_usec "), NULL, 10) / 1000 : strtoll(text, NULL, 10) / 1000000;
}

static void count_cpu(void) {
    if (!self.cpu || self.signal_at_end == SIGKILL || now_ms() < self.counts_at_ms)
        return;
    self.counts_at_ms = now_ms() + COUNT_MS;
    long long used_ms = cpu_ms((int)number(self.cpu[0])) - self.cpu_before_ms;
    if (used_ms < (long long)number(self.cpu[1]) * 1000)
        return;
    self.limit = "cpu";
    self.limit_s = self.cpu[1];
    self.ends_at_ms = now_ms();
    self.cpu = NULL;
}

static int left_ms(void) {
    if (!self.limit)
        return -1;
    long long left = self.ends_at_ms - now_ms();
    return left < 0 ? 0 : left > 1000000 ? 1000000 : (int)left;
}

static int wait_ms(void) {
    int left = left_ms(), most = self.listens_at_ms ? PAUSE_MS : self.cpu ? COUNT_MS : -1;
    return most >= 0 && (left < 0 || left > most) ? most : left;
}

/* Counted by the clock, because other connections may keep us busy all the while. */
static void end_pauses(int poll) {
    if (!is_pausing())
        return;
    if (!self.listens_at_ms)
        self.listens_at_ms = now_ms() + PAUSE_MS;
    if (now_ms() < self.listens_at_ms)
        return;
    listen_again(poll);
    self.listens_at_ms = 0;
}

/* Signals wait in a descriptor that the loop reads. Blocked ones reach even the first process of a namespace. */
int watch_signals(int poll) {
    sigset_t watched;
    sigemptyset(&watched);
    for (const int *each = (const int[]){SIGHUP, SIGINT, SIGTERM, SIGCHLD, 0}; *each; each++)
        sigaddset(&watched, *each);
    sigprocmask(SIG_BLOCK, &watched, NULL);
    int signals = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN};
    if (signals < 0 || epoll_ctl(poll, EPOLL_CTL_ADD, signals, &event))
        fail(CANNOT_CONFINE, "cannot wait for signals: ", strerror(errno), NULL);
    return signals;
}

static void begin(struct statements config, pid_t agent) {
    char **wall = first_of(config, "wall");
    self.limit = wall ? "wall" : NULL;
    self.limit_s = wall ? wall[0] : NULL;
    self.cpu = first_of(config, "cpu");
    self.cpu_before_ms = self.cpu ? cpu_ms((int)number(self.cpu[0])) : 0;
    self.ends_at_ms = wall ? now_ms() + (long long)number(wall[0]) * 1000 : 0;
    char **reported = first_of(config, "report");
    self.report = reported ? (int)number(reported[0]) : -1;
    self.config = config;
    self.agent = agent;
}

/* A ready event without an end of a connection is that of the signals. */
noreturn void supervise(struct statements config, pid_t agent, int poll, int signals) {
    struct epoll_event ready[BATCH];
    begin(config, agent);
    for (;;) {
        int count = epoll_wait(poll, ready, BATCH, wait_ms());
        for (int at = 0; at < count; at++)
            if (ready[at].data.ptr)
                forward(ready[at].data.ptr, ready[at].events, poll);
        bury_connections();
        end_pauses(poll);
        take_signals(signals);
        count_cpu();
        if (self.limit && now_ms() >= self.ends_at_ms)
            time_is_over();
    }
}
