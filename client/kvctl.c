/* client/kvctl.c - kvctl's main(), and nothing else: tests link the rest. */
#include "client/kvctl.h"

int main(int argc, char **argv)
{
    return ctl_run(argc, argv);
}
