/* What the launcher wrote for us: read and understood as a whole before anything is done. */

#include "init.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_STATEMENTS = 1 << 15 };

/* Each statement with the number of its arguments. */
static const struct {
    const char *name;
    int arguments;
} KNOWN[] = {
    {"group", 1},   {"mount", 2},  {"status", 2}, {"relay", 2},  {"rlimit", 2}, {"landlock", 3}, {"allow", 2},
    {"filter", 1},  {"cause", 2},  {"wall", 1},   {"report", 1}, {"trial", 0},  {"account", 2},  {"base", 1},
    {"folder", 1},  {"bind", 4},   {"system", 2}, {"tmpfs", 3},  {"copy", 3},   {"data", 2},     {"hide", 2},
    {"link", 2},    {"proc", 1},   {"dev", 1},    {"seal", 1},   {"cwd", 1},    {"cpu", 2},
};

/* Untouched pages of it cost nothing. */
static struct statement all[MOST_STATEMENTS];

static int arguments_of(const char *name) {
    for (size_t at = 0; at < sizeof KNOWN / sizeof *KNOWN; at++)
        if (!strcmp(KNOWN[at].name, name))
            return KNOWN[at].arguments;
    fail(CANNOT_CONFINE, "init failed: unknown statement ", name, NULL);
}

static char *word(char **from, const char *end) {
    char *found = *from;
    char *zero = memchr(found, '\0', (size_t)(end - found));
    if (!zero)
        fail(CANNOT_CONFINE, "init failed: the configuration ends in the middle", NULL);
    *from = zero + 1;
    return found;
}

static struct statements understood(char *from, const char *end) {
    size_t count = 0;
    for (; from < end; count++) {
        if (count == MOST_STATEMENTS)
            fail(CANNOT_CONFINE, "init failed: the configuration is too long", NULL);
        all[count].name = word(&from, end);
        int arguments = arguments_of(all[count].name);
        for (int at = 0; at < arguments; at++)
            all[count].words[at] = word(&from, end);
    }
    return (struct statements){all, all + count};
}

char **next_of(struct statements *rest, const char *name) {
    while (rest->at < rest->end) {
        struct statement *found = rest->at++;
        if (!strcmp(found->name, name))
            return found->words;
    }
    return NULL;
}

char **first_of(struct statements all_of_them, const char *name) {
    return next_of(&all_of_them, name);
}

struct statements read_config(int fd) {
    struct stat status;
    if (fstat(fd, &status) || status.st_size <= 0)
        fail(CANNOT_CONFINE, "init failed: there is no configuration", NULL);
    char *content = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (content == MAP_FAILED)
        fail(CANNOT_CONFINE, "init failed: cannot read the configuration", NULL);
    close(fd);
    return understood(content, content + status.st_size);
}
