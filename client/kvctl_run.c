/* client/kvctl_run.c - one run of kvctl: arguments in, one command, an exit status. */
#include "client/kvctl.h"

#include <signal.h>

int ctl_run(int argc, char **argv)
{
    static const struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct ctl ctl = {0};
    int status;

    /* A closed connection or pipe is an error like others, not the end. */
    (void)sigaction(SIGPIPE, &ignore, NULL);
    arena_init(&ctl.arena, 16 * 1024, 0);
    status = ctl_args_parse(&ctl, argc, argv);
    if (status == CTL_OK) {
        status = ctl.command->run(&ctl);
    }
    status = ctl_flush(status);
    kv_free(ctl.client);
    arena_close(&ctl.arena);
    return status;
}
