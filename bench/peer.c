/*
 * Both ends of a call through a proxy, light enough to leave the machine to the proxy.
 *
 *   peer serve PORT                    a provider: whole replies, or streams of 20 words 20 ms apart; a reply, or the
 *                                      first word, comes within as many microseconds as the request names as `user`
 *   peer load PORT CLIENTS CALLS US    CLIENTS at once send the request from stdin, CALLS in all; each begins at a
 *                                      time of its own within US microseconds, the same ones in every run
 *
 * Each word of a stream holds the monotonic nanoseconds at which it was written. `load` prints one JSON object; the
 * delays are those from there to its own read. A reply that breaks off is not counted, and ends its client; one that is
 * no 200 ends all.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 65536, WORDS = 20, PACE = 20000000, TURN = 256 };

#define USAGE "\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":20,\"total_tokens\":30}"
#define BEGIN "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":["
#define STREAMS "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
#define FIVE "word word word word word "
#define WHOLE_HEAD "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n"
#define WHOLE_BODY                                                                                                 \
    "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,"       \
    "\"message\":{\"role\":\"assistant\",\"content\":\"" FIVE FIVE FIVE FIVE FIVE FIVE FIVE FIVE FIVE FIVE           \
    "\"},\"finish_reason\":\"stop\"}]," USAGE "}"

typedef long long ns;
typedef struct Peer {
    int fd, used, left, streams;
    ns due;
    enum { HEAD, WHOLE, CHUNKS, LAST } state;
    struct Peer *next;
    char data[SIZE];
} Peer;

static int turn;

static ns now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int opened(int port, struct sockaddr_in *address) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    return fd;
}

static void watch(int fd, void *whose) {
    struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = whose};
    if (epoll_ctl(turn, EPOLL_CTL_ADD, fd, &wanted)) fail("epoll_ctl");
}

/* Until something is to be read, or `due`; 0 is no time. */
static int waited(struct epoll_event *found, ns due) {
    ns left = due - now();
    struct timespec span = {left > 0 ? left / 1000000000 : 0, left > 0 ? left % 1000000000 : 0};
    return epoll_pwait2(turn, found, TURN, due ? &span : NULL, NULL);
}

static int more(Peer *peer) {
    int got = recv(peer->fd, peer->data + peer->used, SIZE - 1 - peer->used, MSG_DONTWAIT);
    if (got > 0) peer->data[peer->used += got] = 0;
    return got > 0 || (got < 0 && errno == EAGAIN);
}

static void consume(Peer *peer, int size) {
    memmove(peer->data, peer->data + size, (peer->used -= size) + 1);
}

static long length_in(const char *head) {
    const char *found = strcasestr(head, "content-length:");
    return found ? atol(found + strlen("content-length:")) : 0;
}

/* The provider. */

static Peer *first, **last = &first;

static void queue(Peer *peer, ns due) {
    static ns latest;
    Peer **place = &first;
    if (due >= latest) latest = due, place = last;
    else while (*place && (*place)->due <= due) place = &(*place)->next;
    peer->due = due, peer->next = *place, *place = peer;
    if (!peer->next) last = &peer->next;
}

/* How long a reply waits: not, or within as many microseconds as the request names as its user. */
static ns phase(const char *body) {
    const char *user = strstr(body, "\"user\":\"");
    long spread_us = user ? atol(user + strlen("\"user\":\"")) : 0;
    return spread_us ? random() % spread_us * 1000LL : 0;
}

static void word(Peer *peer) {
    char event[512];
    int size;
    if (peer->left--) {
        size = sprintf(event, BEGIN "{\"index\":0,\"delta\":{\"content\":\"@%020lld@\"}}]}\n\n", now());
        dprintf(peer->fd, "%x\r\n%s\r\n", size, event);
        queue(peer, peer->due + PACE);
    } else {
        size = sprintf(event, BEGIN "]," USAGE "}\n\ndata: [DONE]\n\n");
        dprintf(peer->fd, "%x\r\n%s\r\n0\r\n\r\n", size, event);
        peer->due = 0;
    }
}

static void speak(Peer *peer) {
    if (peer->streams) {
        word(peer);
    } else {
        dprintf(peer->fd, WHOLE_HEAD "%s", sizeof WHOLE_BODY - 1, WHOLE_BODY);
        peer->due = 0;
    }
}

static void answer(Peer *peer, const char *body) {
    peer->streams = strstr(body, "\"stream\":true") != NULL;
    if (peer->streams) dprintf(peer->fd, "%s", STREAMS);
    peer->left = WORDS;
    queue(peer, now() + phase(body));
}

static void asked(Peer *peer) {
    char *end;
    while ((end = strstr(peer->data, "\r\n\r\n"))) {
        char *body = end + 4;
        if (peer->data + peer->used - body < length_in(peer->data)) return;
        answer(peer, body);
        consume(peer, peer->used); /* nobody asks ahead */
    }
}

static void leave(Peer *peer) {
    close(peer->fd);
    peer->fd = -1;
    if (!peer->due) free(peer);
}

static void accepted(int door) {
    int fd = accept(door, NULL, NULL), yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    Peer *peer = calloc(1, sizeof *peer);
    peer->fd = fd;
    watch(fd, peer);
}

static void tell_due(void) {
    while (first && first->due <= now()) {
        Peer *peer = first;
        if (!(first = peer->next)) last = &first;
        if (peer->fd < 0) free(peer);
        else speak(peer);
    }
}

static void serve(int port) {
    struct sockaddr_in address;
    struct epoll_event found[TURN];
    int door = opened(port, &address);
    if (bind(door, (void *)&address, sizeof address) || listen(door, 2048)) fail("listen");
    watch(door, NULL);
    for (;;) {
        int count = waited(found, first ? first->due : 0);
        for (int i = 0; i < count; i++) {
            Peer *peer = found[i].data.ptr;
            if (!peer) accepted(door);
            else if (more(peer)) asked(peer);
            else leave(peer);
        }
        tell_due();
    }
}

/* The clients. */

static char request[SIZE];
static int request_size, calls_left, words, finished, running;
static double *took, *delays;

/* Whether it could be sent. */
static int ask(Peer *peer) {
    peer->state = HEAD, peer->due = now();
    calls_left--;
    return send(peer->fd, request, request_size, 0) == request_size;
}

static void end(Peer *peer) {
    close(peer->fd);
    free(peer);
    running--;
}

/* A reply is there: on with the next one. Whether there is one. */
static int ended(Peer *peer) {
    took[finished++] = (now() - peer->due) / 1e6;
    return calls_left > 0 && ask(peer);
}

static void begun(Peer *peer, char *after) {
    if (strncmp(peer->data + 8, " 200", 4)) {
        fprintf(stderr, "%.*s\n", (int)(after - peer->data), peer->data);
        exit(1);
    }
    *after = 0;
    peer->left = length_in(peer->data);
    peer->state = peer->left ? WHOLE : CHUNKS;
}

static void heard(char *line, ns at) {
    char *stamp = strstr(line, "\"@");
    if (stamp) delays[words++] = (at - atoll(stamp + 2)) / 1e6;
}

/* Read what has come; 0 at the client's end. */
static int took_in(Peer *peer) {
    ns at = now();
    char *end;
    if (peer->state == HEAD) {
        if (!(end = strstr(peer->data, "\r\n\r\n"))) return 1;
        begun(peer, end + 3);
        consume(peer, end + 4 - peer->data);
    }
    if (peer->state == WHOLE) {
        if (peer->used < peer->left) return 1;
        consume(peer, peer->left);
        return ended(peer);
    }
    char *line = peer->data;
    for (; (end = strchr(line, '\n')); line = end + 1) {
        *end = 0;
        if (peer->state == LAST) return consume(peer, end + 1 - peer->data), ended(peer);
        if (!strcmp(line, "0\r")) peer->state = LAST;
        heard(line, at);
    }
    consume(peer, line - peer->data);
    return 1;
}

static int earlier(const void *one, const void *other) {
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

static void report(const char *name, double *found, int count) {
    qsort(found, count, sizeof *found, earlier);
    for (int percent = 50; percent < 100; percent += percent == 50 ? 40 : 9)
        printf(", \"%s_p%d_ms\": %.4f", name, percent, count ? found[count * percent / 100] : 0);
}

static int ready(const void *one, const void *other) {
    ns a = (*(Peer *const *)one)->due, b = (*(Peer *const *)other)->due;
    return (a > b) - (a < b);
}

static Peer **connected(int port, int clients, int spread_us) {
    struct sockaddr_in address;
    Peer **all = calloc(clients, sizeof *all);
    srandom(1);
    for (int i = 0; i < clients; i++) {
        all[i] = calloc(1, sizeof **all);
        all[i]->fd = opened(port, &address);
        all[i]->due = spread_us ? random() % spread_us * 1000LL : 0;
        if (connect(all[i]->fd, (void *)&address, sizeof address)) fail("connect");
        watch(all[i]->fd, all[i]);
    }
    qsort(all, clients, sizeof *all, ready);
    return all;
}

static void load(int port, int clients, int calls, int spread_us) {
    struct epoll_event found[TURN];
    request_size = fread(request, 1, SIZE, stdin);
    took = calloc(calls + clients, sizeof *took), delays = calloc((calls + clients) * WORDS, sizeof *delays);
    Peer **all = connected(port, clients, spread_us);
    int asking = 0;
    ns start = now();
    for (calls_left = calls, running = clients; running;) {
        int count = waited(found, asking < clients ? start + all[asking]->due : 0);
        for (int i = 0; i < count; i++) {
            Peer *peer = found[i].data.ptr;
            if (!more(peer) || !took_in(peer)) end(peer);
        }
        for (; asking < clients && start + all[asking]->due <= now(); asking++)
            if (!ask(all[asking])) end(all[asking]);
    }
    printf("{\"calls\": %d, \"words\": %d, \"seconds\": %.4f", finished, words, (now() - start) / 1e9);
    report("call", took, finished);
    report("word", delays, words);
    puts("}");
}

int main(int count, char **said) {
    signal(SIGPIPE, SIG_IGN);
    turn = epoll_create1(0);
    if (count == 3 && !strcmp(said[1], "serve")) serve(atoi(said[2]));
    if (count != 6 || strcmp(said[1], "load")) return 2;
    load(atoi(said[2]), atoi(said[3]), atoi(said[4]), atoi(said[5]));
    return 0;
}
