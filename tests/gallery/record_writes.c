/* Preloaded into a process, notes every change of files below a folder, in order: what a power cut may lose of them.

   A record: operation, length of the path, offset, length of the data (three 64-bit numbers), path, data. Operations:
   w write, t truncate, s sync, c create, r rename (data: the new path), u unlink. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define REAL(type, name, ...) type (*real)(__VA_ARGS__) = dlsym(RTLD_NEXT, #name)

static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static int out = -2;
static char root[4096];

static void raw(const void *data, size_t n) {
    REAL(ssize_t, write, int, const void *, size_t);
    const char *at = data;
    while (n) {
        ssize_t done = real(out, at, n);
        if (done <= 0) abort();
        at += done;
        n -= done;
    }
}

static int watched(const char *path) {
    if (out == -2) {
        REAL(int, open64, const char *, int, ...);
        const char *log = getenv("RECORD_TO"), *below = getenv("RECORD_BELOW");
        out = log && below ? real(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
        if (out >= 0) strncpy(root, below, sizeof root - 1);
    }
    return out >= 0 && strncmp(path, root, strlen(root)) == 0;
}

static void note(char what, const char *path, off_t at, const void *data, size_t n) {
    long long head[3] = {(long long)strlen(path), (long long)at, (long long)n};
    pthread_mutex_lock(&guard);
    raw(&what, 1);
    raw(head, sizeof head);
    raw(path, strlen(path));
    raw(data, n);
    pthread_mutex_unlock(&guard);
}

static int name_of(int fd, char *path, size_t n) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, n - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return watched(path);
}

static void full(int dir, const char *path, char *to, size_t n) {
    char base[2048] = "";
    if (path[0] != '/') {
        if (dir == AT_FDCWD) { if (!getcwd(base, sizeof base)) base[0] = 0; }
        else name_of(dir, base, sizeof base);
        snprintf(to, n, "%s/%s", base, path);
    } else snprintf(to, n, "%s", path);
}

ssize_t write(int fd, const void *data, size_t n) {
    REAL(ssize_t, write, int, const void *, size_t);
    char path[4096];
    int ours = name_of(fd, path, sizeof path);
    off_t at = ours ? lseek(fd, 0, SEEK_CUR) : 0;
    if (ours && fcntl(fd, F_GETFL) & O_APPEND) at = lseek(fd, 0, SEEK_END);
    ssize_t done = real(fd, data, n);
    if (ours && done > 0) note('w', path, at, data, done);
    return done;
}
ssize_t pwrite(int fd, const void *data, size_t n, off_t at) {
    REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
    char path[4096];
    ssize_t done = real(fd, data, n, at);
    if (done > 0 && name_of(fd, path, sizeof path)) note('w', path, at, data, done);
    return done;
}
ssize_t pwrite64(int fd, const void *data, size_t n, off_t at) {
    REAL(ssize_t, pwrite64, int, const void *, size_t, off_t);
    char path[4096];
    ssize_t done = real(fd, data, n, at);
    if (done > 0 && name_of(fd, path, sizeof path)) note('w', path, at, data, done);
    return done;
}
static int truncated(int fd, off_t n, int done) {
    char path[4096];
    if (done == 0 && name_of(fd, path, sizeof path)) note('t', path, n, "", 0);
    return done;
}
int ftruncate(int fd, off_t n) { REAL(int, ftruncate, int, off_t); return truncated(fd, n, real(fd, n)); }
int ftruncate64(int fd, off_t n) { REAL(int, ftruncate64, int, off_t); return truncated(fd, n, real(fd, n)); }
static int synced(int fd, int done) {
    char path[4096];
    if (done == 0 && name_of(fd, path, sizeof path)) note('s', path, 0, "", 0);
    return done;
}
int fsync(int fd) { REAL(int, fsync, int); return synced(fd, real(fd)); }
int fdatasync(int fd) { REAL(int, fdatasync, int); return synced(fd, real(fd)); }

#define OPENED(dir, call)                                                                                  \
    char path[4096];                                                                                       \
    struct stat found;                                                                                     \
    mode_t mode = 0;                                                                                       \
    if (flags & O_CREAT) { va_list rest; va_start(rest, flags); mode = va_arg(rest, int); va_end(rest); }  \
    full(dir, name, path, sizeof path);                                                                    \
    int ours = watched(path), there = ours && lstat(path, &found) == 0;                                    \
    int fd = call;                                                                                         \
    if (fd >= 0 && ours && !there && flags & O_CREAT) note('c', path, 0, "", 0);                           \
    if (fd >= 0 && ours && there && flags & O_TRUNC) note('t', path, 0, "", 0);                            \
    return fd;

int open(const char *name, int flags, ...) { REAL(int, open, const char *, int, ...); OPENED(AT_FDCWD, real(name, flags, mode)) }
int open64(const char *name, int flags, ...) { REAL(int, open64, const char *, int, ...); OPENED(AT_FDCWD, real(name, flags, mode)) }
int openat(int dir, const char *name, int flags, ...) { REAL(int, openat, int, const char *, int, ...); OPENED(dir, real(dir, name, flags, mode)) }
int openat64(int dir, const char *name, int flags, ...) { REAL(int, openat64, int, const char *, int, ...); OPENED(dir, real(dir, name, flags, mode)) }

static int renamed(const char *from, const char *to, int done) {
    char a[4096], b[4096];
    full(AT_FDCWD, from, a, sizeof a);
    full(AT_FDCWD, to, b, sizeof b);
    if (done == 0 && watched(a)) note('r', a, 0, b, strlen(b));
    return done;
}
int rename(const char *from, const char *to) { REAL(int, rename, const char *, const char *); return renamed(from, to, real(from, to)); }
int renameat(int d, const char *from, int e, const char *to) { REAL(int, renameat, int, const char *, int, const char *); return renamed(from, to, real(d, from, e, to)); }
static int gone(const char *name, int done) {
    char path[4096];
    full(AT_FDCWD, name, path, sizeof path);
    if (done == 0 && watched(path)) note('u', path, 0, "", 0);
    return done;
}
int unlink(const char *name) { REAL(int, unlink, const char *); return gone(name, real(name)); }
int unlinkat(int d, const char *name, int flags) { REAL(int, unlinkat, int, const char *, int); return gone(name, real(d, name, flags)); }
