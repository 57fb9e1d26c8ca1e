/* client/kvctl_run.c - one run of kvctl: arguments in, one command, an exit status. */
#include "client/kvctl.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

/* Closed standard streams: their numbers must not go to sockets. What is opened in
 * their place fails as they do, so that a result that nobody gets is an error. */
static void streams_hold(void)
{
    static const int modes[] = {O_WRONLY, O_RDONLY, O_RDONLY};

    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) == -1 && open("/dev/null", modes[fd]) == -1) {
            return; /* No /dev/null: as well as it goes. */
        }
    }
}

int ctl_run(int argc, char **argv)
{
    static const struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct ctl ctl = {0};
    int status;

    streams_hold();
    /* A closed connection or pipe is an error like others, not the end. */
    (void)sigaction(SIGPIPE, &ignore, NULL);
    arena_init(&ctl.arena, 16 * 1024, 0);
    status = ctl_args_parse(&ctl, argc, argv);
    if (status == CTL_OK) {
        status = ctl.command->run(&ctl);
    }
    if (status == CTL_OK && ctl.is_short) {
        status = CTL_UNKNOWN;
    }
    if (ctl.client != NULL && ctl_token_save(&ctl) != CTL_OK && status == CTL_OK) {
        status = CTL_DATA;
    }
    status = ctl_flush(status);
    kv_free(ctl.client);
    arena_close(&ctl.arena);
    return status;
}
