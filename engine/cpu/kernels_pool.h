/* Threads that work on one task at a time, piece by piece.
 *
 * A piece is taken by whichever thread runs, so that a thread whose core another process has holds up at most the piece that it is
 * at. Who waits, for pieces or for the last of them, watches for some microseconds, as the next task mostly comes at once, and then
 * sleeps: it leaves its core to the others, who get on the sooner.
 */

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#define WATCHES 2000 /* some 30 to 100 microseconds */
#define MOST_HELPERS 255

typedef void task(const void *arguments, long first, long end); /* does the items from first to end */

static struct {
    atomic_ullong tickets; /* pieces << 32 | the next to take; who has taken one finds below what it is a piece of */
    task *run;
    const void *arguments;
    long total, each;
    atomic_long left;                     /* pieces that are not done */
    atomic_int sleeping, waiting, allowed; /* helpers that sleep; whether the caller does; helpers that may take pieces */
    int helpers;
    pthread_mutex_t caller, lock;
    pthread_cond_t work, done;
} pool = {.caller = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};

static int more(void) {
    unsigned long long tickets = atomic_load(&pool.tickets);
    return (uint32_t)tickets < tickets >> 32;
}

/* Does a piece, if there is one. */
static int work_on_a_piece(void) {
    unsigned long long tickets = atomic_load(&pool.tickets);
    do {
        if ((uint32_t)tickets >= tickets >> 32) return 0;
    } while (!atomic_compare_exchange_weak(&pool.tickets, &tickets, tickets + 1));
    long first = (long)(uint32_t)tickets * pool.each, end = first + pool.each < pool.total ? first + pool.each : pool.total;
    pool.run(pool.arguments, first, end);
    if (atomic_fetch_sub(&pool.left, 1) == 1 && atomic_load(&pool.waiting)) {
        pthread_mutex_lock(&pool.lock);
        pthread_cond_signal(&pool.done);
        pthread_mutex_unlock(&pool.lock);
    }
    return 1;
}

static void *help(void *number) {
    int watched = 0;
    for (;;) {
        int may = (int)(intptr_t)number < atomic_load(&pool.allowed);
        if (may && work_on_a_piece()) watched = 0;
        else if (may && ++watched < WATCHES) PAUSE();
        else {
            pthread_mutex_lock(&pool.lock);
            atomic_fetch_add(&pool.sleeping, 1);
            while (!more() || (int)(intptr_t)number >= atomic_load(&pool.allowed)) pthread_cond_wait(&pool.work, &pool.lock);
            atomic_fetch_sub(&pool.sleeping, 1);
            pthread_mutex_unlock(&pool.lock);
            watched = 0;
        }
    }
    return NULL;
}

/* A forked process has the pool's memory and none of its threads. */
static void forget_helpers(void) {
    pool.helpers = 0;
    atomic_store(&pool.tickets, 0), atomic_store(&pool.sleeping, 0), atomic_store(&pool.waiting, 0);
    pthread_mutex_init(&pool.caller, NULL), pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.work, NULL), pthread_cond_init(&pool.done, NULL);
}

static void get_helpers(int wished) {
    sigset_t all, before;
    if (wished > MOST_HELPERS) wished = MOST_HELPERS;
    atomic_store(&pool.allowed, wished);
    if (pool.helpers >= wished) return;
    static int registered;
    if (!registered) registered = !pthread_atfork(NULL, NULL, forget_helpers);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the threads of the program */
    for (; pool.helpers < wished; pool.helpers++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, help, (void *)(intptr_t)pool.helpers)) break;
        pthread_detach(thread);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* Does all items of a task, `each` at a time, by `threads` threads with the calling one. While the pool is at another thread's task,
 * the calling one does all by itself. */
static void run_task(task *run, const void *arguments, long total, long each, int threads) {
    long pieces = (total + each - 1) / each;
    if (threads < 2 || pieces < 2 || pthread_mutex_trylock(&pool.caller)) {
        if (total > 0) run(arguments, 0, total);
        return;
    }
    get_helpers(threads - 1);
    pool.run = run, pool.arguments = arguments, pool.total = total, pool.each = each;
    atomic_store(&pool.left, pieces);
    atomic_store(&pool.tickets, (unsigned long long)pieces << 32);
    if (atomic_load(&pool.sleeping)) {
        pthread_mutex_lock(&pool.lock);
        pthread_cond_broadcast(&pool.work);
        pthread_mutex_unlock(&pool.lock);
    }
    while (work_on_a_piece());
    for (int watched = 0; atomic_load(&pool.left) && watched < WATCHES; watched++) PAUSE();
    if (atomic_load(&pool.left)) {
        pthread_mutex_lock(&pool.lock);
        atomic_store(&pool.waiting, 1);
        while (atomic_load(&pool.left)) pthread_cond_wait(&pool.done, &pool.lock);
        atomic_store(&pool.waiting, 0);
        pthread_mutex_unlock(&pool.lock);
    }
    pthread_mutex_unlock(&pool.caller);
}
