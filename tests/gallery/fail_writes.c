/* Preloaded into a process, makes its n-th write, sync or truncation and all after it fail. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/types.h>
#include <unistd.h>

static long left = -1;
static int code = 0;

void fail_from(long n, int error) { left = n; code = error; }

static int failing(void) {
    if (left < 0) return 0;
    if (left > 1) { left--; return 0; }
    errno = code;
    return 1;
}

#define REAL(type, name, ...) type (*real)(__VA_ARGS__) = dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *data, size_t n) {
    REAL(ssize_t, write, int, const void *, size_t);
    return fd > 2 && failing() ? -1 : real(fd, data, n);
}
ssize_t pwrite(int fd, const void *data, size_t n, off_t at) {
    REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
    return failing() ? -1 : real(fd, data, n, at);
}
ssize_t pwrite64(int fd, const void *data, size_t n, off_t at) {
    REAL(ssize_t, pwrite64, int, const void *, size_t, off_t);
    return failing() ? -1 : real(fd, data, n, at);
}
int fsync(int fd) {
    REAL(int, fsync, int);
    return failing() ? -1 : real(fd);
}
int fdatasync(int fd) {
    REAL(int, fdatasync, int);
    return failing() ? -1 : real(fd);
}
int ftruncate(int fd, off_t n) {
    REAL(int, ftruncate, int, off_t);
    return failing() ? -1 : real(fd, n);
}
int ftruncate64(int fd, off_t n) {
    REAL(int, ftruncate64, int, off_t);
    return failing() ? -1 : real(fd, n);
}
