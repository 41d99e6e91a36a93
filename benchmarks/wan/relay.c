/* A wide-area link between two network namespaces, packet by packet.
 *
 *   namespace a: wan0 10.79.0.1 ─► [queue ─► rate ─► loss ─► delay] ─► wan0 10.79.0.2: namespace b
 *                               ◄─ [delay ◄─ loss ◄─ rate ◄─ queue] ◄─
 *
 * The two namespaces have no name: they live as long as this process and those that entered them,
 * so nothing is left behind however it ends. It ends when its standard input does.
 *
 *   relay run PATHS SEED           one TUN device a path and namespace; then commands, one a line:
 *       set PATH ab|ba|both KEY=VALUE ...    answered by "ok" or "error ..."
 *       stats                                answered by one JSON object
 *   relay enter PID a|b OWNER COMMAND ...    run a command in a namespace of a running relay, for
 *                                            as long as OWNER, its parent, lives
 *
 * One thread; every queue is a ring, so a packet costs the same however many wait. A packet goes
 * through `waiting` (drop-tail, for the line to be free) to `flying` (its delay), and there to
 * `late` instead if it is to be overtaken. Departure times are computed, not measured: a late
 * wake-up delays deliveries by SLACK_NS at most and never lowers the rate.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <arpa/inet.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MTU = 1500, PATHS_MAX = 4, RING = 1 << 17, READS_MAX = 64, FD_A = 60, FD_B = 61 };
static const int64_t SECOND_NS = 1000000000, SLACK_NS = 100000, STEP_NS = 500000;

typedef struct { int64_t due_ns; uint32_t length; unsigned char *bytes; } Packet;
typedef struct { Packet *slots; uint32_t head, count; } Queue;

typedef struct { /* one direction of a path; rate in bit/s, 0 for no limit */
    double rate, delay_us, jitter_us, queue_bytes, loss, burst_enter, burst_leave, burst_loss,
        reorder, reorder_us, cut;
    int from, to, is_bad;
    Queue waiting, flying, late;
    uint64_t waiting_bytes;
    int64_t free_ns; /* when the line has sent what it is sending */
    uint64_t packets, bytes, queue_drops, loss_drops, cut_drops, overruns, delivered_packets,
        delivered_bytes, reordered, queue_bytes_most;
} Lane;

static Lane lanes[PATHS_MAX][2];
static int path_count;
static uint64_t dice_state;

static const struct { const char *name; size_t at; } KEYS[] = {
#define KEY(name) { #name, offsetof(Lane, name) }
    KEY(rate), KEY(delay_us), KEY(jitter_us), KEY(queue_bytes), KEY(loss), KEY(burst_enter),
    KEY(burst_leave), KEY(burst_loss), KEY(reorder), KEY(reorder_us), KEY(cut),
};
static const struct { const char *name; size_t at; } COUNTERS[] = {
    KEY(packets), KEY(bytes), KEY(queue_drops), KEY(loss_drops), KEY(cut_drops), KEY(overruns),
    KEY(delivered_packets), KEY(delivered_bytes), KEY(reordered), KEY(queue_bytes_most),
};
#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static void fail(const char *what) {
    fprintf(stderr, "relay: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * SECOND_NS + time.tv_nsec;
}

static double dice(void) { /* xorshift64*, 0 <= result < 1: the same losses for the same seed */
    dice_state ^= dice_state >> 12, dice_state ^= dice_state << 25, dice_state ^= dice_state >> 27;
    return (double)((dice_state * 2685821657736338717ULL) >> 11) / 9007199254740992.0;
}

static int push(Queue *queue, Packet packet) {
    if (queue->count == RING) return 0;
    queue->slots[(queue->head + queue->count++) % RING] = packet;
    return 1;
}

static Packet *first(Queue *queue) { return queue->count ? &queue->slots[queue->head] : NULL; }

static Packet pop(Queue *queue) {
    Packet packet = queue->slots[queue->head];
    queue->head = (queue->head + 1) % RING, queue->count--;
    return packet;
}

static int64_t last_due_ns(Queue *queue) {
    return queue->count ? queue->slots[(queue->head + queue->count - 1) % RING].due_ns : 0;
}

/* Gilbert and Elliott: a good state that loses `loss` and a bad one that loses `burst_loss`. */
static int is_lost(Lane *lane) {
    if (lane->burst_enter > 0)
        lane->is_bad = lane->is_bad ? dice() >= lane->burst_leave : dice() < lane->burst_enter;
    double loss = lane->is_bad ? lane->burst_loss : lane->loss;
    return loss > 0 && dice() < loss;
}

static void fly(Lane *lane, Packet packet) {
    int is_late = lane->reorder > 0 && dice() < lane->reorder;
    Queue *queue = is_late ? &lane->late : &lane->flying;
    double wait_us = lane->delay_us + (is_late ? lane->reorder_us : 0);
    if (lane->jitter_us > 0) wait_us += dice() * lane->jitter_us;
    packet.due_ns = lane->free_ns + (int64_t)(wait_us * 1000);
    int64_t earliest_ns = last_due_ns(queue); /* jitter alone does not reorder */
    if (packet.due_ns < earliest_ns) packet.due_ns = earliest_ns;
    lane->reordered += is_late;
    if (!push(queue, packet)) lane->overruns++, free(packet.bytes);
}

/* Put on the line what it had time for. */
static void serialise(Lane *lane, int64_t now) {
    Packet *next;
    while ((next = first(&lane->waiting))) {
        int64_t start_ns = next->due_ns > lane->free_ns ? next->due_ns : lane->free_ns;
        if (start_ns > now) return;
        Packet packet = pop(&lane->waiting);
        lane->waiting_bytes -= packet.length;
        double line_ns = lane->rate > 0 ? packet.length * 8e9 / lane->rate : 0;
        lane->free_ns = start_ns + (int64_t)line_ns;
        lane->packets++, lane->bytes += packet.length;
        if (is_lost(lane)) lane->loss_drops++, free(packet.bytes);
        else fly(lane, packet);
    }
}

static void arrive(Lane *lane, const unsigned char *bytes, uint32_t length, int64_t now) {
    if (lane->rate > 0 && lane->waiting_bytes + length > lane->queue_bytes) {
        lane->queue_drops++;
        return;
    }
    Packet packet = { now, length, malloc(length) };
    if (!packet.bytes) fail("malloc");
    memcpy(packet.bytes, bytes, length);
    if (!push(&lane->waiting, packet)) { lane->overruns++, free(packet.bytes); return; }
    lane->waiting_bytes += length;
    if (lane->waiting_bytes > lane->queue_bytes_most) lane->queue_bytes_most = lane->waiting_bytes;
}

static void deliver(Lane *lane, Queue *queue, int64_t now) {
    Packet *next;
    while ((next = first(queue)) && next->due_ns <= now) {
        Packet packet = pop(queue);
        if (lane->cut > 0) lane->cut_drops++;
        else if (write(lane->to, packet.bytes, packet.length) < 0) lane->overruns++;
        else lane->delivered_packets++, lane->delivered_bytes += packet.length;
        free(packet.bytes);
    }
}

/* Move everything that is due; returns whether something was read. */
static int turn(Lane *lane) {
    unsigned char bytes[MTU + 64];
    int64_t now = now_ns();
    int reads = 0;
    serialise(lane, now);
    deliver(lane, &lane->flying, now), deliver(lane, &lane->late, now);
    for (; reads < READS_MAX; reads++) {
        ssize_t length = read(lane->from, bytes, sizeof bytes);
        if (length <= 0) break;
        arrive(lane, bytes, (uint32_t)length, now);
    }
    if (reads) serialise(lane, now);
    return reads > 0;
}

static int64_t wake_ns(Lane *lane) { /* when to look at a lane again, whatever is read before */
    int64_t wake = INT64_MAX;
    Queue *due[] = { &lane->flying, &lane->late };
    for (int i = 0; i < 2; i++)
        if (first(due[i]) && first(due[i])->due_ns + SLACK_NS < wake) wake = first(due[i])->due_ns + SLACK_NS;
    /* Nothing can arrive before its delay is over: short of that, serialise in larger steps. */
    int64_t step_ns = (int64_t)(lane->delay_us * 500);
    if (first(&lane->waiting)) {
        int64_t step = lane->free_ns + (step_ns < STEP_NS ? step_ns : STEP_NS);
        if (step < wake) wake = step;
    }
    return wake;
}

static void configure(const char *name, const char *address, int queue_packets) {
    int control = socket(AF_INET, SOCK_DGRAM, 0);
    struct ifreq request = { 0 };
    struct sockaddr_in *in = (struct sockaddr_in *)&request.ifr_addr;
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (address) {
        in->sin_family = AF_INET, in->sin_addr.s_addr = inet_addr(address);
        if (ioctl(control, SIOCSIFADDR, &request) < 0) fail("SIOCSIFADDR");
        in->sin_addr.s_addr = htonl(0xFFFFFFFC);
        if (ioctl(control, SIOCSIFNETMASK, &request) < 0) fail("SIOCSIFNETMASK");
        request.ifr_mtu = MTU;
        if (ioctl(control, SIOCSIFMTU, &request) < 0) fail("SIOCSIFMTU");
        request.ifr_qlen = queue_packets;
        if (ioctl(control, SIOCSIFTXQLEN, &request) < 0) fail("SIOCSIFTXQLEN");
    }
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    if (ioctl(control, SIOCSIFFLAGS, &request) < 0) fail("SIOCSIFFLAGS");
    close(control);
}

static int open_tun(int path, int host) {
    struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };
    char address[32];
    snprintf(request.ifr_name, IFNAMSIZ, "wan%d", path);
    snprintf(address, sizeof address, "10.79.%d.%d", path, host);
    int tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (tun < 0) fail("/dev/net/tun");
    if (ioctl(tun, TUNSETIFF, &request) < 0) fail("TUNSETIFF");
    configure(request.ifr_name, address, 20000);
    return tun;
}

/* Make a namespace with its devices; it stays open under a number that `enter` knows. */
static void open_namespace(int keep_as, int host, int *tuns) {
    if (unshare(CLONE_NEWNET) < 0) fail("unshare(CLONE_NEWNET), which needs root");
    int here = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (here < 0 || dup2(here, keep_as) < 0) fail("/proc/thread-self/ns/net");
    close(here);
    int quiet = open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY | O_CLOEXEC);
    if (quiet >= 0 && write(quiet, "1", 1) < 0) perror("relay: disable_ipv6"); /* only noise */
    if (quiet >= 0) close(quiet);
    configure("lo", NULL, 0);
    for (int path = 0; path < path_count; path++) tuns[path] = open_tun(path, host);
}

/* What a device refused because we did not read in time: the emulator's own fault, so it is told. */
static uint64_t refused(int namespace, int path) {
    char line[512], name[16];
    uint64_t dropped = 0;
    if (setns(namespace, CLONE_NEWNET) < 0) fail("setns");
    FILE *file = fopen("/proc/thread-self/net/dev", "r");
    snprintf(name, sizeof name, "wan%d:", path);
    while (file && fgets(line, sizeof line, file)) {
        char *at = strstr(line, name);
        if (at) sscanf(at + strlen(name), "%*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %lu", &dropped);
    }
    if (file) fclose(file);
    return dropped;
}

static void print_stats(void) {
    printf("{\"paths\": [");
    for (int path = 0; path < path_count; path++)
        for (int way = 0; way < 2; way++) {
            Lane *lane = &lanes[path][way];
            printf("%s\"%s\": {", way ? ", " : path ? ", {" : "{", way ? "ba" : "ab");
            for (size_t i = 0; i < COUNT(COUNTERS); i++)
                printf("\"%s\": %lu, ", COUNTERS[i].name, *(uint64_t *)((char *)lane + COUNTERS[i].at));
            printf("\"refused\": %lu, \"queue_bytes_now\": %lu}%s", refused(way ? FD_B : FD_A, path),
                   lane->waiting_bytes, way ? "}" : "");
        }
    printf("]}\n");
}

static int set_key(Lane *lane, const char *name, double value) {
    for (size_t i = 0; i < COUNT(KEYS); i++)
        if (!strcmp(KEYS[i].name, name)) {
            *(double *)((char *)lane + KEYS[i].at) = value;
            return 1;
        }
    return 0;
}

static void command(char *line) {
    char *word = strtok(line, " \n"), *path_word = strtok(NULL, " \n"), *way = strtok(NULL, " \n");
    if (word && !strcmp(word, "stats")) { print_stats(); return; }
    int path = path_word ? atoi(path_word) : 0;
    if (!word || strcmp(word, "set") || !way || path < 0 || path >= path_count) {
        printf("error: unknown command\n");
        return;
    }
    for (char *pair; (pair = strtok(NULL, " \n"));) {
        char *value = strchr(pair, '=');
        if (!value) { printf("error: %s: write KEY=VALUE\n", pair); return; }
        *value++ = 0;
        for (int i = 0; i < 2; i++)
            if ((!strcmp(way, "both") || !strcmp(way, i ? "ba" : "ab")) &&
                !set_key(&lanes[path][i], pair, atof(value))) {
                printf("error: %s: no such key\n", pair);
                return;
            }
    }
    printf("ok\n");
}

static void run(void) {
    static char line[4096]; /* commands come in whole lines: their writer waits for each answer */
    struct pollfd polled[1 + 2 * PATHS_MAX] = { { .fd = 0, .events = POLLIN } };
    for (int i = 0; i < 2 * path_count; i++)
        polled[1 + i] = (struct pollfd){ .fd = lanes[i / 2][i % 2].from, .events = POLLIN };
    for (;;) {
        int64_t wake = INT64_MAX;
        int is_busy = 0;
        for (int i = 0; i < 2 * path_count; i++) {
            Lane *lane = &lanes[i / 2][i % 2];
            is_busy |= turn(lane);
            int64_t at = wake_ns(lane);
            if (at < wake) wake = at;
        }
        int64_t wait_ns = is_busy ? 0 : wake - now_ns();
        if (wait_ns < 0) wait_ns = 0;
        struct timespec wait = { wait_ns / SECOND_NS, wait_ns % SECOND_NS };
        ppoll(polled, 1 + 2 * path_count, wake == INT64_MAX && !is_busy ? NULL : &wait, NULL);
        if (polled[0].revents) {
            ssize_t length = read(0, line, sizeof line - 1);
            if (length <= 0) exit(0);
            line[length] = 0;
            command(line);
        }
    }
}

static int enter(int count, char **words) {
    char name[64];
    if (count < 6) fail("relay enter PID a|b OWNER COMMAND ...");
    snprintf(name, sizeof name, "/proc/%s/fd/%d", words[2], words[3][0] == 'a' ? FD_A : FD_B);
    int namespace = open(name, O_RDONLY | O_CLOEXEC);
    if (namespace < 0 || setns(namespace, CLONE_NEWNET) < 0) fail(name);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* whoever started us is gone: so is the experiment */
    if (getppid() != atoi(words[4])) return 1; /* it went before we could ask for that */
    execvp(words[5], words + 5);
    fail(words[5]);
    return 1;
}

int main(int count, char **words) {
    int tuns[2][PATHS_MAX];
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (count > 1 && !strcmp(words[1], "enter")) return enter(count, words);
    if (count != 4 || strcmp(words[1], "run")) { fprintf(stderr, "relay: see relay.c\n"); return 2; }
    path_count = atoi(words[2]);
    if (path_count < 1 || path_count > PATHS_MAX) { fprintf(stderr, "relay: 1 to 4 paths\n"); return 2; }
    dice_state = strtoull(words[3], NULL, 10) * 0x9E3779B97F4A7C15ULL + 1;
    prctl(PR_SET_TIMERSLACK, 1);
    setpriority(PRIO_PROCESS, 0, -10); /* a real line does not wait for our processor */
    signal(SIGINT, SIG_IGN); /* Ctrl-C ends our parent, and its end ends us */
    open_namespace(FD_A, 1, tuns[0]);
    open_namespace(FD_B, 2, tuns[1]);
    for (int i = 0; i < 2 * path_count; i++) {
        Lane *lane = &lanes[i / 2][i % 2];
        lane->from = tuns[i % 2][i / 2], lane->to = tuns[1 - i % 2][i / 2];
        lane->queue_bytes = 1 << 20;
        Queue *queues[] = { &lane->waiting, &lane->flying, &lane->late };
        for (int q = 0; q < 3; q++)
            if (!(queues[q]->slots = calloc(RING, sizeof(Packet)))) fail("calloc");
    }
    printf("ready\n");
    run();
}
