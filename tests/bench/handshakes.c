/* TLS handshakes and nothing else: so many, by so many threads, full or resumed, as fast as they go or at a rate.
 *
 * handshakes PORT 12|13 THREADS COUNT full|resume NAME [HOSTS] [RATE] [SECONDS]
 *   NAME    SNI; a printf pattern for a number below HOSTS, e.g. h%06d.bench.test; random, in turn if HOSTS is negative
 *   RATE    handshakes a second, open loop: latency counts from when each was due (0: closed loop)
 *   SECONDS stop after this long even if COUNT is not reached (0: never)
 * SIGTERM ends it early, with its report. Prints: completed failed reused p50_us p90_us p99_us max_us seconds
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static atomic_int stopping;
static int port, version, threads, resume, hosts;
static long count;
static double rate, limit_seconds;
static const char *name;
static SSL_CTX *ctx;
static atomic_long next_number, completed, failed, reused;
static double *latencies;
static double began;
static _Thread_local SSL_SESSION *kept;
static _Thread_local int has_new;

static void stop(int signal_number) {
  (void)signal_number;
  stopping = 1;
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static int keep_session(SSL *ssl, SSL_SESSION *session) {
  (void)ssl;
  if (kept) SSL_SESSION_free(kept);
  kept = session;
  has_new = 1;
  return 1;
}

static int dial(void) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  struct timeval wait = {5, 0};
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
  if (connect(fd, (void *)&to, sizeof to)) {
    close(fd);
    return -1;
  }
  return fd;
}

/* Under TLS 1.3 the session comes after the handshake; nothing else is waited for. */
static void take_session(SSL *ssl, int fd) {
  struct pollfd p = {fd, POLLIN, 0};
  char byte;
  fcntl(fd, F_SETFL, O_NONBLOCK);
  while (version == 13 && !has_new && poll(&p, 1, 1000) == 1) {
    if (SSL_get_error(ssl, SSL_peek(ssl, &byte, 1)) != SSL_ERROR_WANT_READ) return;
  }
}

static int handshake(unsigned *seed, long number) {
  char sni[300];
  int fd = dial();
  if (fd < 0) return 0;
  int host = hosts > 0 ? rand_r(seed) % hosts : hosts < 0 ? (int)(number % -hosts) : 0;
  snprintf(sni, sizeof sni, name, host);
  SSL *ssl = SSL_new(ctx);
  has_new = 0;
  SSL_set_fd(ssl, fd);
  SSL_set_tlsext_host_name(ssl, sni);
  if (resume && kept) SSL_set_session(ssl, kept);
  int ok = SSL_connect(ssl) == 1;
  if (ok && SSL_session_reused(ssl)) reused++;
  if (ok && resume) take_session(ssl, fd);
  SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  SSL_free(ssl);
  close(fd);
  return ok;
}

static void *work(void *argument) {
  unsigned seed = (unsigned)(long)argument * 7919 + 1;
  for (;;) {
    long number = next_number++;
    if (number >= count || stopping) return NULL;
    double from = now();
    if (limit_seconds > 0 && from - began > limit_seconds) return NULL;
    if (rate > 0) {
      double due = began + number / rate;
      if (due > from) usleep((useconds_t)((due - from) * 1e6));
      from = due;
    }
    if (handshake(&seed, number)) {
      long place = completed++;
      latencies[place] = now() - from;
    } else {
      failed++;
    }
  }
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double at(double part) {
  long n = completed;
  return n ? latencies[(long)(part * (n - 1))] * 1e6 : 0;
}

int main(int argc, char **argv) {
  if (argc < 7) {
    fprintf(stderr, "handshakes PORT 12|13 THREADS COUNT full|resume NAME [HOSTS] [RATE] [SECONDS]\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  signal(SIGTERM, stop);
  port = atoi(argv[1]), version = atoi(argv[2]), threads = atoi(argv[3]), count = atol(argv[4]);
  resume = !strcmp(argv[5], "resume"), name = argv[6];
  hosts = argc > 7 ? atoi(argv[7]) : 0;
  rate = argc > 8 ? atof(argv[8]) : 0;
  limit_seconds = argc > 9 ? atof(argv[9]) : 0;
  latencies = calloc(count + 1, sizeof *latencies);
  ctx = SSL_CTX_new(TLS_client_method());
  int wire = version == 12 ? TLS1_2_VERSION : TLS1_3_VERSION;
  SSL_CTX_set_min_proto_version(ctx, wire);
  SSL_CTX_set_max_proto_version(ctx, wire);
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  if (resume) SSL_CTX_sess_set_new_cb(ctx, keep_session);
  pthread_t *all = calloc(threads, sizeof *all);
  began = now();
  for (long i = 0; i < threads; i++) pthread_create(&all[i], NULL, work, (void *)i);
  for (int i = 0; i < threads; i++) pthread_join(all[i], NULL);
  double seconds = now() - began;
  qsort(latencies, completed, sizeof *latencies, ascending);
  printf("%ld %ld %ld %.0f %.0f %.0f %.0f %.3f\n", (long)completed, (long)failed, (long)reused, at(.5),
         at(.9), at(.99), at(1), seconds);
  return 0;
}
