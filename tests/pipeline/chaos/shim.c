/* Preloaded into an instance (LD_PRELOAD): another wall clock, and I/O errors below one folder. A
 * file that the test holds mapped, too, tells what is on (CHAOS_CONTROL); CHAOS_FOLDER names the
 * folder. CLOCK_MONOTONIC stays as it is, as it does when somebody sets the clock of a machine.
 *
 * Debian's libfaketime cannot be preloaded here: it calls malloc when it is first asked for the
 * time, and mimalloc asks for the time when malloc is first called.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct control {
    volatile int64_t clock_ms;    /* added to the wall clock */
    volatile int64_t fail_reads;  /* 1: reads end with EIO */
    volatile int64_t fail_writes; /* 1: writes and syncs end with EIO */
    volatile int64_t failed;      /* calls that have ended so */
    volatile int64_t asked;       /* times that the clock was asked for while it was wrong */
};

static struct control none;
static struct control *control = &none;
static const char *folder = "/nowhere";

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("CHAOS_CONTROL");
    if (getenv("CHAOS_FOLDER")) folder = getenv("CHAOS_FOLDER");
    int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR) : -1;
    if (fd < 0) return;
    void *mapped = mmap(NULL, sizeof(none), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (mapped != MAP_FAILED) control = mapped;
}

/* ---- clock ---- */

int clock_gettime(clockid_t clock, struct timespec *to) {
    int result = (int)syscall(SYS_clock_gettime, clock, to);
    int64_t ms = control->clock_ms;
    if (result == 0 && ms != 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t ns = to->tv_nsec + (ms % 1000) * 1000000;
        to->tv_sec += ms / 1000 + (ns < 0 ? -1 : ns / 1000000000);
        to->tv_nsec = ns < 0 ? ns + 1000000000 : ns % 1000000000;
        control->asked++;
    }
    return result;
}

int gettimeofday(struct timeval *restrict to, void *restrict zone) {
    (void)zone;
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
    to->tv_sec = now.tv_sec;
    to->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *to) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
    if (to) *to = now.tv_sec;
    return now.tv_sec;
}

/* Nothing here waits for a condition by CLOCK_MONOTONIC, so all deadlines are of the wall clock.
 * The wait goes on in pieces of 50 ms, so that a jump counts for a wait that has begun: one of a
 * second lasts an hour longer after the clock was set back by an hour, as on a real machine. */
int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until) {
    static int (*next)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    if (!next) {
        next = (int (*)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *))dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
        if (!next) next = (int (*)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *))dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    }
    for (;;) {
        struct timespec now, piece;
        clock_gettime(CLOCK_REALTIME, &now);
        int64_t left = (int64_t)(until->tv_sec - now.tv_sec) * 1000000000 + (until->tv_nsec - now.tv_nsec);
        int64_t wait = left < 0 ? 0 : left < 50000000 ? left : 50000000;
        syscall(SYS_clock_gettime, CLOCK_REALTIME, &piece);
        piece.tv_nsec += wait;
        piece.tv_sec += piece.tv_nsec / 1000000000;
        piece.tv_nsec %= 1000000000;
        int result = next(condition, mutex, &piece);
        if (result != ETIMEDOUT || left <= wait) return result;
    }
}

/* ---- input and output ---- */

static int is_inside(int fd) {
    char link[32] = "/proc/self/fd/", path[4096], digits[16];
    int at = 0, end = 14;
    do digits[at++] = (char)('0' + fd % 10); while ((fd /= 10) > 0);
    while (at > 0) link[end++] = digits[--at];
    link[end] = 0;
    long length = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof(path) - 1);
    size_t prefix = strlen(folder);
    return length >= (long)prefix && strncmp(path, folder, prefix) == 0;
}

static int fails(int64_t is_on, int fd) {
    if (!is_on || fd < 0 || !is_inside(fd)) return 0;
    control->failed++;
    errno = EIO;
    return 1;
}

ssize_t write(int fd, const void *from, size_t length) {
    return fails(control->fail_writes, fd) ? -1 : syscall(SYS_write, fd, from, length);
}

ssize_t pwrite64(int fd, const void *from, size_t length, off64_t at) {
    return fails(control->fail_writes, fd) ? -1 : syscall(SYS_pwrite64, fd, from, length, at);
}

ssize_t pwrite(int fd, const void *from, size_t length, off_t at) { return pwrite64(fd, from, length, at); }

int fsync(int fd) { return fails(control->fail_writes, fd) ? -1 : (int)syscall(SYS_fsync, fd); }

int fdatasync(int fd) { return fails(control->fail_writes, fd) ? -1 : (int)syscall(SYS_fdatasync, fd); }

ssize_t read(int fd, void *to, size_t length) {
    return fails(control->fail_reads, fd) ? -1 : syscall(SYS_read, fd, to, length);
}

ssize_t pread64(int fd, void *to, size_t length, off64_t at) {
    return fails(control->fail_reads, fd) ? -1 : syscall(SYS_pread64, fd, to, length, at);
}

ssize_t pread(int fd, void *to, size_t length, off_t at) { return pread64(fd, to, length, at); }
