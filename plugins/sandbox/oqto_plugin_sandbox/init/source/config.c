/* What the launcher wrote for us. */

#include "init.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Each statement with the number of its arguments. */
static const struct {
    const char *name;
    int arguments;
} KNOWN[] = {
    {"group", 1},  {"mount", 2},    {"status", 2}, {"relay", 2}, {"rlimit", 2}, {"landlock", 3},
    {"allow", 2},  {"filter", 1},   {"cause", 2},  {"wall", 1},  {"report", 1},
};

static int arguments_of(const char *name) {
    for (size_t at = 0; at < sizeof KNOWN / sizeof *KNOWN; at++)
        if (!strcmp(KNOWN[at].name, name))
            return KNOWN[at].arguments;
    fail(CANNOT_CONFINE, "init failed: unknown statement ", name, NULL);
}

static char *word(struct statements *rest) {
    char *found = rest->at;
    char *end = memchr(found, '\0', (size_t)(rest->end - found));
    if (!end)
        fail(CANNOT_CONFINE, "init failed: the configuration ends in the middle", NULL);
    rest->at = end + 1;
    return found;
}

char **next_of(struct statements *rest, const char *name) {
    static char *arguments[MOST_ARGUMENTS];
    while (rest->at < rest->end) {
        const char *found = word(rest);
        int count = arguments_of(found);
        for (int at = 0; at < count; at++)
            arguments[at] = word(rest);
        if (!strcmp(found, name))
            return arguments;
    }
    return NULL;
}

char **first_of(struct statements all, const char *name) {
    return next_of(&all, name);
}

struct statements read_config(int fd) {
    struct stat status;
    if (fstat(fd, &status) || status.st_size <= 0)
        fail(CANNOT_CONFINE, "init failed: there is no configuration", NULL);
    char *content = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (content == MAP_FAILED)
        fail(CANNOT_CONFINE, "init failed: cannot read the configuration", NULL);
    close(fd);
    return (struct statements){content, content + status.st_size};
}
