/* Writes COUNT lines at RATE a second to stdout; each holds the monotonic nanoseconds at which it is written. */

#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { SECOND = 1000000000 };

int main(int count, char **words) {
    if (count != 3) return 2;
    long lines = atol(words[1]), step = SECOND / atol(words[2]);
    struct timespec due, now;
    clock_gettime(CLOCK_MONOTONIC, &due);
    while (lines--) {
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
        clock_gettime(CLOCK_MONOTONIC, &now);
        /* One write(2): a pipe takes it whole. */
        dprintf(1, "{\"type\":\"delta\",\"text\":\"%lld \"}\n", now.tv_sec * (long long)SECOND + now.tv_nsec);
        due.tv_nsec += step;
        if (due.tv_nsec >= SECOND) due.tv_nsec -= SECOND, due.tv_sec++;
    }
    return 0;
}
