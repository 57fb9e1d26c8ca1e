/* client/kvctl_help.c - what kvctl says about itself. */
#include "client/kvctl.h"

#include <stdio.h>

/* X(bit, name, letter, has_value, help) as one line, when the bit is in `bits`. */
static void options_print(uint64_t bits)
{
    static const struct {
        const char *name;
        const char *help;
        char letter;
        bool has_value;
    } rows[] = {
#define CTL_HELP_ROW(bit, name, letter, has_value, help) \
    {name, help, letter, has_value},
        CTL_OPTION_MAP(CTL_HELP_ROW)
#undef CTL_HELP_ROW
    };

    for (int i = 0; i < CTL_OPTIONS_COUNT; i++) {
        if ((bits & (UINT64_C(1) << i)) == 0 || rows[i].help[0] == '\0') {
            continue;
        }
        if (rows[i].letter != 0) {
            printf("  -%c, --%-10s %s\n", rows[i].letter, rows[i].name, rows[i].help);
        } else {
            printf("  --%-14s %s\n", rows[i].name, rows[i].help);
        }
    }
}

void ctl_help_print(const struct ctl_command *command)
{
    const uint64_t global = CTL_BIT(ENDPOINTS) | CTL_BIT(TIMEOUT) | CTL_BIT(OUTPUT);

    if (command != NULL) {
        printf("usage: kvctl [OPTIONS] %s %s\n%s: %s\n", command->name, command->words,
               command->name, command->help);
        if (command->more[0] != '\0') {
            printf("\n%s", command->more);
        }
        printf("\noptions, before or behind the command:\n");
        options_print(command->options | global);
        return;
    }
    printf("kvctl reads and writes keys of a kvd cluster, and shows how it is.\n\n"
           "  kvctl put greeting hello\n"
           "  kvctl get greeting\n"
           "  kvctl status\n\n"
           "commands (more: kvctl help COMMAND):\n");
    for (const struct ctl_command *c = ctl_commands; c->name != NULL; c++) {
        printf("  %-7s %-18s %s\n", c->name, c->words, c->help);
    }
    printf("\noptions, before or behind the command; -- ends them:\n");
    options_print(global);
    printf(
        "\nWithout endpoints it reads cluster/endpoints beside its build folder, then\n"
        "below the current folder: the cluster that `make up` started.\n\n"
        "exit status:\n"
        "  0 done                          4 certainly not applied\n"
        "  1 not found, condition false    5 outcome unknown, --w not reached\n"
        "  2 wrong usage                   6 not allowed\n"
        "  3 cannot connect                7 data or I/O error\n");
}

int ctl_help(struct ctl *ctl)
{
    const struct ctl_command *command = NULL;

    if (ctl->words_count == 1) {
        command = ctl_command_find(ctl->words[0]);
        if (command == NULL) {
            return ctl_fail(CTL_USAGE, "there is no command \"%s\"; see: kvctl help",
                            ctl->words[0]);
        }
    }
    ctl_help_print(command);
    return CTL_OK;
}

int ctl_version(struct ctl *ctl)
{
    if (ctl->format == CTL_JSON) {
        json_t *out = json_object();

        ctl_json_set(out, "version", json_string(kv_version()));
        ctl_json_print(out);
    } else {
        printf("kvctl %s\n", kv_version());
    }
    return CTL_OK;
}
