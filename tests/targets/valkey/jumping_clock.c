/* Preloaded: adds to the wall clock the seconds that stand in the file CLOCK_JUMP; the other clocks stay. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const int64_t *jump;

static int64_t seconds(void)
{
    if (jump == NULL) {
        int file = open(getenv("CLOCK_JUMP"), O_RDONLY);
        jump = mmap(NULL, sizeof *jump, PROT_READ, MAP_SHARED, file, 0);
        close(file);
    }
    return *jump;
}

int clock_gettime(clockid_t id, struct timespec *found)
{
    int answer = syscall(SYS_clock_gettime, id, found);
    if (answer == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        found->tv_sec += seconds();
    return answer;
}

int gettimeofday(struct timeval *restrict found, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    found->tv_sec = now.tv_sec;
    found->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *found)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (found != NULL)
        *found = now.tv_sec;
    return now.tv_sec;
}
