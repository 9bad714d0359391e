/* Broken ClientHellos and broken requests, made from good ones with a seed, as many a second as two cores let through.
 *
 * mutations hellos|requests PORT THREADS COUNT SEED NAME FILE...
 *   NAME  SNI of the connections that requests go over
 *   FILE  one good original each; one that starts with HTTP/2's preface goes over HTTP/2
 * Each thread mutates originals by a generator of its own (seed + thread). Prints: sent connections served refused ended slow
 *   served  answers below 400 (hellos: a ServerHello came), refused: 400 and above (hellos: an alert),
 *   ended: closed without an answer, slow: nothing came for 300 ms
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST = 16384, ANSWER = 65536, ORIGINALS = 64 };
enum verdict { SERVED, REFUSED, ENDED, SLOW, VERDICTS };

struct text {
  unsigned char bytes[MOST];
  int size;
};

struct peer {
  int fd;
  SSL *ssl;
};

static struct text originals[ORIGINALS];
static int known, port, over_tls;
static long count, seed;
static const char *name;
static SSL_CTX *ctx;
static atomic_long next_number, connections, verdicts[VERDICTS];
static _Thread_local uint64_t state;
static _Thread_local SSL_SESSION *kept;

/* xorshift64* */
static uint32_t below(uint32_t limit) {
  state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
  return (uint32_t)((state * 2685821657736338717ULL) >> 33) % limit;
}

static void cut(struct text *t, int at, int size) {
  if (size > t->size - at) size = t->size - at;
  memmove(t->bytes + at, t->bytes + at + size, t->size - at - size);
  t->size -= size;
}

/* Open a gap; what is in it stays what it was. */
static void widen(struct text *t, int at, int size) {
  if (t->size + size > MOST) return;
  memmove(t->bytes + at + size, t->bytes + at, t->size - at);
  t->size += size;
}

/* One to six changes: a bit flipped, a byte replaced, cut, something random or a copy put in, a length made wrong. */
static void mutate(struct text *t) {
  for (int changes = 1 + below(6); changes > 0 && t->size > 2; changes--) {
    int at = below(t->size - 1), size = 1 + below(40);
    switch (below(6)) {
      case 0: t->bytes[at] ^= 1 << below(8); break;
      case 1: t->bytes[at] = below(256); break;
      case 2: cut(t, at, 1 + size / 2); break;
      case 3:
        widen(t, at, size);
        for (int i = 0; i < size && at + i < t->size; i++) t->bytes[at + i] = below(256);
        break;
      case 4: widen(t, at, size); break;
      default: t->bytes[at] = t->bytes[at + 1] = 0xff;
    }
  }
}

static int keep_session(SSL *ssl, SSL_SESSION *session) {
  (void)ssl;
  if (kept) SSL_SESSION_free(kept);
  kept = session;
  return 1;
}

static void patience(int fd, int milliseconds) {
  struct timeval wait = {milliseconds / 1000, milliseconds % 1000 * 1000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
}

static int dial(void) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  struct linger gone = {1, 0}; /* no TIME_WAIT: a million connections have not so many ports */
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &gone, sizeof gone);
  if (connect(fd, (void *)&to, sizeof to)) {
    perror("connect");
    exit(1);
  }
  connections++;
  return fd;
}

static enum verdict throw_hello(struct text *hello) {
  unsigned char answer[1024];
  int fd = dial();
  enum verdict verdict = ENDED;
  patience(fd, 300);
  if (send(fd, hello->bytes, hello->size, MSG_NOSIGNAL) == hello->size) {
    shutdown(fd, SHUT_WR);
    ssize_t got = recv(fd, answer, sizeof answer, 0);
    if (got > 0) verdict = answer[0] == 22 ? SERVED : REFUSED;
    if (got < 0) verdict = SLOW;
  }
  close(fd);
  return verdict;
}

static void hang_up(struct peer *peer) {
  if (!peer->ssl) return;
  SSL_set_shutdown(peer->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  SSL_free(peer->ssl);
  close(peer->fd);
  peer->ssl = NULL;
}

static void call(struct peer *peer, int http2) {
  peer->fd = dial();
  patience(peer->fd, 10000);
  peer->ssl = SSL_new(ctx);
  SSL_set_fd(peer->ssl, peer->fd);
  SSL_set_tlsext_host_name(peer->ssl, name);
  if (http2) SSL_set_alpn_protos(peer->ssl, (const unsigned char *)"\2h2", 3);
  if (kept) SSL_set_session(peer->ssl, kept);
  if (SSL_connect(peer->ssl) != 1) {
    fprintf(stderr, "a good handshake failed\n");
    exit(1);
  }
  patience(peer->fd, 300);
}

/* How many bytes the whole answer has, or 0 when that is not known yet, -1 when only its end will tell. */
static long whole(const char *answer, int size) {
  char *end = strstr(answer, "\r\n\r\n"), *field = strcasestr(answer, "\r\ncontent-length: ");
  if (!end) return 0;
  long head = end + 4 - answer;
  if (field && field < end) return head + atol(field + 18);
  if (strcasestr(answer, "\r\ntransfer-encoding: chunked")) return memcmp(answer + size - 5, "0\r\n\r\n", 5) ? 0 : size;
  return -1;
}

/* Read one HTTP/1.1 answer; hang up where the server did, or where another one could not be told from it. */
static enum verdict read_answer(struct peer *peer) {
  static _Thread_local char answer[ANSWER + 1];
  int size = 0;
  long all = 0;
  while (size < ANSWER && (all <= 0 || size < all)) {
    int got = SSL_read(peer->ssl, answer + size, ANSWER - size);
    if (got <= 0) break;
    size += got;
    answer[size] = 0;
    all = whole(answer, size);
  }
  int slow = size == 0 && SSL_get_error(peer->ssl, -1) == SSL_ERROR_WANT_READ;
  int status = size > 12 && !memcmp(answer, "HTTP/1.1 ", 9) ? atoi(answer + 9) : 0;
  if (all <= 0 || size != all || strcasestr(answer, "\r\nconnection: close")) hang_up(peer);
  if (status) return status < 400 ? SERVED : REFUSED;
  return slow ? SLOW : ENDED;
}

/* The frames, then no more: nginx answers what it understood of them, and closes. Its first frame is SETTINGS (4). */
static enum verdict read_frames(struct peer *peer) {
  unsigned char answer[ANSWER];
  int size = 0, got;
  shutdown(peer->fd, SHUT_WR);
  while (size < ANSWER && (got = SSL_read(peer->ssl, answer + size, ANSWER - size)) > 0) size += got;
  hang_up(peer);
  enum verdict verdict = size ? REFUSED : ENDED;
  for (int at = 0; at + 9 <= size; at += 9 + (answer[at] << 16 | answer[at + 1] << 8 | answer[at + 2])) {
    if (answer[at + 3] == 1) verdict = SERVED;
  }
  return verdict;
}

static enum verdict throw_request(struct peer *peer, struct text *request, int http2) {
  if (http2) hang_up(peer);
  if (!peer->ssl) call(peer, http2);
  if (!http2) memcpy(request->bytes + request->size, "\r\n\r\n", 4), request->size += 4;
  if (SSL_write(peer->ssl, request->bytes, request->size) <= 0) {
    hang_up(peer);
    return ENDED;
  }
  return http2 ? read_frames(peer) : read_answer(peer);
}

static void *work(void *argument) {
  struct peer peer = {0};
  state = 88172645463325252ULL + seed * 1000003 + (long)argument * 7919;
  while (next_number++ < count) {
    struct text text;
    const struct text *original = &originals[below(known)];
    memcpy(&text, original, sizeof text);
    mutate(&text);
    int http2 = original->size > 3 && !memcmp(original->bytes, "PRI", 3);
    verdicts[over_tls ? throw_request(&peer, &text, http2) : throw_hello(&text)]++;
  }
  hang_up(&peer);
  return NULL;
}

static void load(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file || known == ORIGINALS) exit(2);
  originals[known].size = fread(originals[known].bytes, 1, MOST / 2, file);
  known++;
  fclose(file);
}

int main(int argc, char **argv) {
  if (argc < 8) {
    fprintf(stderr, "mutations hellos|requests PORT THREADS COUNT SEED NAME FILE...\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  over_tls = !strcmp(argv[1], "requests"), port = atoi(argv[2]);
  int threads = atoi(argv[3]);
  count = atol(argv[4]), seed = atol(argv[5]), name = argv[6];
  for (int i = 7; i < argc; i++) load(argv[i]);
  ctx = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(ctx, keep_session);
  pthread_t *all = calloc(threads, sizeof *all);
  for (long i = 0; i < threads; i++) pthread_create(&all[i], NULL, work, (void *)i);
  for (int i = 0; i < threads; i++) pthread_join(all[i], NULL);
  printf("%ld %ld %ld %ld %ld %ld\n", count, (long)connections, (long)verdicts[SERVED], (long)verdicts[REFUSED],
         (long)verdicts[ENDED], (long)verdicts[SLOW]);
  return 0;
}
