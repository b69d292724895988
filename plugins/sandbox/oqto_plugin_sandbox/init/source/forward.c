/* Ports on 127.0.0.1 inside to Unix sockets outside, in one thread and without waiting anywhere. */

#include "init.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { CHUNK = 64 * 1024, BACKLOG = 128 };

/* One direction of a connection: at most one chunk waits, so a slow reader slows its writer. */
struct flow {
    char *waiting;
    size_t from, to;
    bool is_ended;
};

/* What epoll hands back: a listener, or one of the two ends of a connection. */
struct end {
    int fd;
    const char *path; /* of a listener: where it leads to */
    struct connection *connection;
    struct end *next; /* of a listener that pauses */
};

/* The client inside and the Unix socket outside; `flows[i]` is what `ends[i]` says. */
struct connection {
    struct end ends[2];
    struct flow flows[2];
    struct connection *next;
    bool is_over;
};

/* Events of one batch may still name a connection that an earlier one ended. */
static struct connection *over;

/* Listeners whose service is too busy, or for which we have no descriptors: their clients wait in the kernel's queue. */
static struct end *pausing;

static bool received(struct flow *flow, int source, int target) {
    ssize_t got = recv(source, flow->waiting, CHUNK, 0);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR;
    flow->from = 0;
    flow->to = (size_t)got;
    flow->is_ended = got == 0;
    if (flow->is_ended)
        shutdown(target, SHUT_WR);
    return true;
}

static bool sent(struct flow *flow, int target) {
    ssize_t gone = send(target, flow->waiting + flow->from, flow->to - flow->from, MSG_NOSIGNAL);
    if (gone < 0)
        return errno == EAGAIN || errno == EINTR;
    flow->from += (size_t)gone;
    return true;
}

static bool waits(const struct flow *flow) {
    return flow->from < flow->to;
}

/* Read if nothing waits, write what waits. False when the connection is broken. */
static bool moved(struct flow *flow, int source, int target) {
    if (!waits(flow) && !flow->is_ended && !received(flow, source, target))
        return false;
    return !waits(flow) || sent(flow, target);
}

static unsigned interest(const struct connection *each, int end) {
    const struct flow *says = &each->flows[end], *hears = &each->flows[!end];
    unsigned reads = !waits(says) && !says->is_ended ? EPOLLIN : 0;
    return reads | (waits(hears) ? EPOLLOUT : 0);
}

static void watch(int poll, int how, struct end *end, unsigned events) {
    struct epoll_event event = {.events = events, .data.ptr = end};
    if (epoll_ctl(poll, how, end->fd, &event) && end->connection)
        end->connection->is_over = true;
}

static void finish(struct connection *each) {
    close(each->ends[0].fd);
    close(each->ends[1].fd);
    each->is_over = true;
    each->next = over;
    over = each;
}

void bury_connections(void) {
    while (over) {
        struct connection *next = over->next;
        free(over->flows[0].waiting);
        free(over->flows[1].waiting);
        free(over);
        over = next;
    }
}

/* A peer that is gone altogether is told again and again, whatever we ask for. */
static bool is_gone(const struct end *end, unsigned events) {
    const struct connection *each = end->connection;
    return events & (EPOLLHUP | EPOLLERR) && each->flows[end == &each->ends[1]].is_ended;
}

static void advance(struct end *end, unsigned events, int poll) {
    struct connection *each = end->connection;
    int inside = each->ends[0].fd, outside = each->ends[1].fd;
    if (each->is_over)
        return;
    bool goes_on = !is_gone(end, events) && moved(&each->flows[0], inside, outside) &&
                   moved(&each->flows[1], outside, inside) && !(each->flows[0].is_ended && each->flows[1].is_ended);
    for (int at = 0; goes_on && at < 2; at++)
        watch(poll, EPOLL_CTL_MOD, &each->ends[at], interest(each, at));
    if (!goes_on || each->is_over)
        finish(each);
}

static bool is_for_later(int reason) {
    return reason == EAGAIN || reason == EMFILE || reason == ENFILE || reason == ENOMEM || reason == ENOBUFS;
}

/* A connection to the Unix socket, or -1. It is made or refused at once; `EAGAIN` says that too many wait for it. */
static int reached(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address)) {
        int reason = errno;
        close(fd);
        errno = reason;
        return -1;
    }
    return fd;
}

static struct connection *made(int client, int server) {
    struct connection *each = calloc(1, sizeof *each);
    if (!each)
        return NULL;
    for (int at = 0; at < 2; at++) {
        each->ends[at] = (struct end){.fd = at ? server : client, .connection = each};
        each->flows[at].waiting = malloc(CHUNK);
    }
    return each;
}

static void add(int client, int server, int poll) {
    struct connection *each = made(client, server);
    if (!each) {
        close(client);
        close(server);
        return;
    }
    if (!each->flows[0].waiting || !each->flows[1].waiting)
        each->is_over = true;
    for (int at = 0; at < 2 && !each->is_over; at++)
        watch(poll, EPOLL_CTL_ADD, &each->ends[at], interest(each, at));
    if (each->is_over)
        finish(each);
}

static void pause_listening(struct end *listener, int poll) {
    watch(poll, EPOLL_CTL_MOD, listener, 0);
    listener->next = pausing;
    pausing = listener;
}

bool is_pausing(void) {
    return pausing;
}

void listen_again(int poll) {
    for (; pausing; pausing = pausing->next)
        watch(poll, EPOLL_CTL_MOD, pausing, EPOLLIN);
}

/* The service first: a client that was not taken yet can wait for it, one that was would have to be sent away. */
static void take(struct end *listener, int poll) {
    int server = reached(listener->path);
    if (server < 0 && is_for_later(errno)) {
        pause_listening(listener, poll);
        return;
    }
    int client = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    bool is_early = client < 0 && errno != EAGAIN && is_for_later(errno);
    if (client >= 0 && server >= 0) {
        setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        add(client, server, poll);
        return;
    }
    if (client >= 0)
        close(client);
    if (server >= 0)
        close(server);
    if (is_early)
        pause_listening(listener, poll);
}

void forward(void *ready, unsigned events, int poll) {
    struct end *end = ready;
    if (end->path)
        take(end, poll);
    else
        advance(end, events, poll);
}

static int listener(const char *port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    address.sin_port = htons((unsigned short)number(port));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, BACKLOG))
        fail(CANNOT_CONFINE, "cannot listen on port ", port, " inside: ", strerror(errno), NULL);
    return fd;
}

/* Listen on every port of the session. */
void listen_for(struct statements config, int poll) {
    for (char **relay; (relay = next_of(&config, "relay"));) {
        struct end *end = calloc(1, sizeof *end);
        if (!end || strlen(relay[1]) >= sizeof((struct sockaddr_un *)0)->sun_path)
            fail(CANNOT_CONFINE, "cannot forward to ", relay[1], NULL);
        *end = (struct end){.fd = listener(relay[0]), .path = relay[1]};
        watch(poll, EPOLL_CTL_ADD, end, EPOLLIN);
    }
}
