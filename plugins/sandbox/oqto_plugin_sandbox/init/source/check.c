/* The self-check: what the kernel says about this sandbox, against what the plan says. */

#include "init.h"

#include <string.h>

enum { MOST_MOUNTS = 8192, MOST_TEXT = 4 << 20, POINT = 4, OPTIONS = 5 };

struct mounted {
    char *point;
    bool is_read_only;
    bool is_planned;
};

/* Untouched pages of these cost nothing. */
static struct mounted mounts[MOST_MOUNTS];
static char text[MOST_TEXT];

/* A path of mountinfo, in place: space, tab, newline and backslash are written as `\ooo`. */
static char *unescaped(char *field) {
    char *to = field;
    for (const char *from = field; *from; to++) {
        bool is_escape = from[0] == '\\' && from[1] && from[2] && from[3];
        *to = is_escape ? (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0')) : *from;
        from += is_escape ? 4 : 1;
    }
    *to = '\0';
    return field;
}

static struct mounted parsed(char *line) {
    char *fields[OPTIONS + 1];
    for (int at = 0; at <= OPTIONS; at++)
        if (!(fields[at] = strsep(&line, " ")))
            fail(CANNOT_CONFINE, "self-check: a line of mountinfo is not understood", NULL);
    const char *access = fields[OPTIONS];
    return (struct mounted){unescaped(fields[POINT]), !strcmp(access, "ro") || !strncmp(access, "ro,", 3), false};
}

static size_t read_mounts(void) {
    char *rest = read_file("/proc/self/mountinfo", text, sizeof text);
    size_t count = 0;
    if (!rest)
        fail(CANNOT_CONFINE, "self-check: cannot read /proc/self/mountinfo", NULL);
    for (char *line; (line = strsep(&rest, "\n")) && *line; count++) {
        if (count == MOST_MOUNTS)
            fail(CANNOT_CONFINE, "self-check: more mounts than anybody planned", NULL);
        mounts[count] = parsed(line);
    }
    return count;
}

/* Of several mounts at one place the last is on top, and all of them are of the plan. */
static const struct mounted *at_point(const char *path, size_t count) {
    const struct mounted *top = NULL;
    while (count--)
        if (!strcmp(mounts[count].point, path)) {
            top = top ? top : &mounts[count];
            mounts[count].is_planned = true;
        }
    return top;
}

static bool is_below(const char *path, const char *folder) {
    size_t length = strlen(folder);
    return !strncmp(path, folder, length) && (path[length] == '/' || folder[length - 1] == '/');
}

/* The access that the plan gives to the deepest of its mounts above `path`; NULL if there is none but `/`. */
static const char *planned_above(const char *path, struct statements config) {
    const char *access = NULL;
    size_t deepest = 1;
    for (char **wanted; (wanted = next_of(&config, "mount"));)
        if (strlen(wanted[1]) > deepest && is_below(path, wanted[1])) {
            deepest = strlen(wanted[1]);
            access = wanted[0];
        }
    return access;
}

/* What the host has mounted in a part that is shown comes along, with the same access; nothing else may be here. */
static void check_stray(const struct mounted *found, struct statements config) {
    bool is_kernel = is_below(found->point, "/dev") || is_below(found->point, "/proc");
    const char *access = planned_above(found->point, config);
    if (!access)
        fail(CANNOT_CONFINE, "self-check: ", found->point, " is mounted and nobody planned it", NULL);
    if (!is_kernel && !strcmp(access, "ro") && !found->is_read_only)
        fail(CANNOT_CONFINE, "self-check: ", found->point, " is writable", NULL);
}

/* Every mount of the plan is where the plan says, no symlink led it elsewhere, read-only is so, and no other is here. */
void check_mounts(struct statements config) {
    size_t count = read_mounts();
    struct statements rest = config;
    bool is_whole = false; /* a plan has a root */
    for (char **wanted; (wanted = next_of(&rest, "mount"));) {
        const struct mounted *found = at_point(wanted[1], count);
        is_whole |= !strcmp(wanted[1], "/");
        if (!found)
            fail(CANNOT_CONFINE, "self-check: nothing is mounted at ", wanted[1], NULL);
        if (!strcmp(wanted[0], "ro") && !found->is_read_only)
            fail(CANNOT_CONFINE, "self-check: ", wanted[1], " is writable", NULL);
    }
    for (size_t at = 0; is_whole && at < count; at++)
        if (!mounts[at].is_planned)
            check_stray(&mounts[at], config);
}

/* The value of a line `name:\tvalue` of a status file; NULL without that line. */
static char *value_of(char *status, const char *name, char *into, size_t size) {
    size_t length = strlen(name);
    for (char *line = status; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, length) || strncmp(line + length, ":\t", 2))
            continue;
        char *value = line + length + 2;
        size_t width = strcspn(value, "\n");
        if (width >= size)
            return NULL;
        memcpy(into, value, width);
        into[width] = '\0';
        return into;
    }
    return NULL;
}

void check_process(struct statements config) {
    char *status = read_file("/proc/self/status", text, sizeof text);
    char held[256];
    if (!status)
        fail(CANNOT_CONFINE, "self-check: cannot read /proc/self/status", NULL);
    for (char **wanted; (wanted = next_of(&config, "status"));) {
        const char *found = value_of(status, wanted[0], held, sizeof held);
        if (!found || strcmp(found, wanted[1]))
            fail(CANNOT_CONFINE, "self-check: ", wanted[0], " is ", found ? found : "missing", ", not ", wanted[1], NULL);
    }
}
