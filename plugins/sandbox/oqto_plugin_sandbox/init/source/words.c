/* Sentences for people, files, and numbers. */

#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LONGEST_SENTENCE = 8192, MOST_PARTS = 8 };

static void speak(const char *first, va_list rest) {
    const char *parts[MOST_PARTS + 2] = {"oqto-sandbox: ", first};
    char line[LONGEST_SENTENCE];
    for (int count = 2; count <= MOST_PARTS && (parts[count] = va_arg(rest, const char *)); count++)
        ;
    joined(line, sizeof line - 1, 0, parts);
    strcat(line, "\n");
    if (write(2, line, strlen(line)) < 0)
        return; /* nobody is there to hear it */
}

void say(const char *part, ...) {
    va_list rest;
    va_start(rest, part);
    speak(part, rest);
    va_end(rest);
}

/* Say why and end; nothing of the agent has run. */
noreturn void fail(int code, const char *part, ...) {
    va_list rest;
    va_start(rest, part);
    speak(part, rest);
    va_end(rest);
    _exit(code);
}

/* The parts, cut where `into` is full, with `between` after each unless it is zero. */
char *joined(char *into, size_t size, char between, const char *const *parts) {
    size_t used = 0;
    for (; *parts; parts++) {
        size_t length = strnlen(*parts, size - 1 - used);
        memcpy(into + used, *parts, length);
        used += length;
        if (between && used < size - 1)
            into[used++] = between;
    }
    into[used] = '\0';
    return into;
}

/* The whole content with a zero byte behind it; NULL if it cannot be read or does not fit. */
char *read_file(const char *path, char *into, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t used = 0;
    ssize_t got = fd;
    while (fd >= 0 && ((got = read(fd, into + used, size - 1 - used)) > 0 || (got < 0 && errno == EINTR)))
        used += got > 0 ? (size_t)got : 0;
    if (fd >= 0)
        close(fd);
    into[used] = '\0';
    return got < 0 || used == size - 1 ? NULL : into;
}

/* Ends the start for what is no number: only the launcher writes numbers, so its words are not understood. */
unsigned long long number(const char *text) {
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    if (end == text || *end)
        fail(CANNOT_CONFINE, "init failed: not a number: ", text, NULL);
    return value;
}
