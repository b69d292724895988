/* The self-check: what the kernel says about this sandbox, against what the plan says. */

#include "init.h"

#include <string.h>

enum { MOST_MOUNTS = 8192, MOST_TEXT = 4 << 20, POINT = 4, OPTIONS = 5 };

struct mounted {
    char *point;
    bool is_read_only;
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
    return (struct mounted){unescaped(fields[POINT]), !strcmp(access, "ro") || !strncmp(access, "ro,", 3)};
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

/* Of several mounts at one place the last is on top. */
static const struct mounted *at_point(const char *path, size_t count) {
    while (count--)
        if (!strcmp(mounts[count].point, path))
            return &mounts[count];
    return NULL;
}

/* Every mount of the plan is where the plan says, no symlink led it elsewhere, and read-only is so. */
void check_mounts(struct statements config) {
    size_t count = read_mounts();
    for (char **wanted; (wanted = next_of(&config, "mount"));) {
        const struct mounted *found = at_point(wanted[1], count);
        if (!found)
            fail(CANNOT_CONFINE, "self-check: nothing is mounted at ", wanted[1], NULL);
        if (!strcmp(wanted[0], "ro") && !found->is_read_only)
            fail(CANNOT_CONFINE, "self-check: ", wanted[1], " is writable", NULL);
    }
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
