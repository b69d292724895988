/*
 * The first process inside: makes and checks the sandbox, forwards ports, runs the agent, and outlives nothing.
 *
 * bubblewrap starts it as PID 1 from a sealed memory file. It is a program of its own, and not Python,
 * because starting an interpreter costs more than everything else about a sandbox together.
 *
 * Order matters: control groups, mounts, rights, self-check, listeners, fork; then the agent alone gets its own
 * session, limits, Landlock, the second system-call filter. Any failure before that ends with code 125 and a
 * sentence. Where the kernel is older than Linux 5.12, bubblewrap makes the mounts and takes the rights.
 */

#ifndef OQTO_INIT_H
#define OQTO_INIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdnoreturn.h>
#include <sys/types.h>

enum { CANNOT_CONFINE = 125, CANNOT_EXECUTE = 126, NOT_FOUND = 127 };

/* words.c: sentences for people, files, numbers. A sentence ends with NULL. */
void say(const char *part, ...);
noreturn void fail(int code, const char *part, ...);
char *joined(char *into, size_t size, char between, const char *const *parts);
char *read_file(const char *path, char *into, size_t size);
unsigned long long number(const char *text);

/*
 * config.c: what launch.py wrote, a sequence of words that each end with a zero byte: the name of a
 * statement, then its arguments. `next_of` gives the arguments of the next one with that name, or NULL.
 */
enum { MOST_ARGUMENTS = 4 };
struct statement {
    const char *name;
    char *words[MOST_ARGUMENTS];
};
struct statements {
    struct statement *at;
    struct statement *end;
};
struct statements read_config(int fd);
char **next_of(struct statements *rest, const char *name);
char **first_of(struct statements all, const char *name);

/* mounts.c: the kernel's interface for mounts. What fails ends the start with the path. */
noreturn void refuse(const char *path);
int opened_in(int top, const char *path, bool follows_links);
int cloned(int source, const char *path, unsigned set, unsigned clear);
int filesystem(const char *type, const char *const *options, unsigned attributes);
void moved_to(int tree, int place, const char *path);
void make_read_only(int place, const char *path);

/* root.c: makes every mount of the plan and leaves the host's; the answer is a descriptor of `/proc`. */
int make_root(struct statements config);

/* rights.c */
void allow_one_namespace(int proc);
void give_up_rights(struct statements config, int proc);

/* check.c: what the kernel says about this sandbox, against what the plan says. */
void check_mounts(struct statements config);
void check_process(struct statements config);

/* agent.c */
void load_filter(int fd);
pid_t start_agent(struct statements config, char **argv);
noreturn void execute(char **argv);

/* forward.c: ports on 127.0.0.1 inside to Unix sockets outside. */
void listen_for(struct statements config, int poll);
void forward(void *end, unsigned events, int poll);
void bury_connections(void);
bool is_pausing(void);
void listen_again(int poll);

/* supervise.c */
int watch_signals(int poll);
noreturn void supervise(struct statements config, pid_t agent, int poll, int signals);

#endif
