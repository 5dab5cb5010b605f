// The command line of streamline-edge-lite: the agent, unless --repl asks for the interpreter.
//
// Rule: it starts what is frozen in and changes nothing else of the interpreter; SIGTERM, and SIGHUP of a terminal that is closed (unless
// nohup has it ignored), end the agent as Ctrl-C does, in order.
// Must not know: what the agent's own options mean.

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "py/cstack.h"
#include "py/mpconfig.h"
#include "py/runtime.h"

#define HEAP_DEFAULT "512k"
#define HEAP_OPTION "--heap"
#define HEAP_MIN "96k" // with less not even the command line is read
#define HEAP_BYTES_MIN (96 * 1024)

// The port allows itself 40,000 bytes on 32 bits, and keeps a path of PATH_MAX in them for each import within another: nine of those, and
// the agent does not start. Linux gives a process 8 MB.
#define STACK_BYTES (192 * 1024 * sizeof(void *) / 4)

static char *stack_top;

int micropython_main(int argc, char **argv);
void launcher_stack_init(size_t stack_size);

// What the port's `main` calls instead of mp_cstack_init_with_sp_here. The top is above its frame: the collector must see what is in that.
void launcher_stack_init(size_t stack_size) {
    mp_cstack_init_with_top(stack_top, STACK_BYTES);
}

static void on_end(int number) {
    // At the next bytecode, not here: what is being written is written whole.
    mp_sched_keyboard_interrupt();
}

static void end_on(int number) {
    struct sigaction action;
    memset(&action, 0, sizeof(action));
    action.sa_handler = on_end;
    sigaction(number, &action, NULL);
}

// Of a size with k or m behind it; 0 where it is none.
static long bytes_of(const char *size) {
    char *end;
    long n = strtol(size, &end, 10);
    long unit = *end == 'k' || *end == 'K' ? 1024 : *end == 'm' || *end == 'M' ? 1024 * 1024 : 1;
    end += unit != 1;
    return *end == 0 && n > 0 && n < 65536L * 1024 / unit * 16 ? n * unit : 0;
}

int main(int argc, char **argv) {
    stack_top = __builtin_frame_address(0);
    char heap[32 + sizeof("heapsize=")] = "heapsize=" HEAP_DEFAULT;
    char **words = calloc(argc + 8, sizeof(char *));
    if (words == NULL) {
        fprintf(stderr, "%s: no memory\n", argv[0]);
        return 1;
    }
    int n = 0, at = 1;
    words[n++] = argv[0];
    if (at < argc && strcmp(argv[at], HEAP_OPTION) == 0) {
        if (at + 1 >= argc || strlen(argv[at + 1]) > 31 || bytes_of(argv[at + 1]) < HEAP_BYTES_MIN) {
            fprintf(stderr, "%s: --heap takes a size of " HEAP_MIN " or more, such as 512k or 2m\n", argv[0]);
            return 2;
        }
        strcpy(heap + strlen("heapsize="), argv[at + 1]);
        at += 2;
    }
    words[n++] = "-X";
    words[n++] = heap;
    if (at < argc && strcmp(argv[at], "--repl") == 0) {
        at++;
    } else {
        umask(077); // what the agent keeps, and its control socket, are its user's alone
        end_on(SIGTERM);
        struct sigaction hangup;
        if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN) {
            end_on(SIGHUP);
        }
        // What is frozen in and nothing else: else the folder that it is started in comes first, and whoever may write there is the agent.
        unsetenv("MICROPYPATH");
        words[n++] = "-c";
        words[n++] = "import sys; sys.path[:] = ['.frozen']; import streamline_board.__main__";
    }
    while (at < argc) {
        words[n++] = argv[at++];
    }
    return micropython_main(n, words);
}
