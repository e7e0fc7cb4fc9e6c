# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_devstack_global_optspecs
    string join \n project= config= color= q/quiet v/verbose h/help V/version
end

function __fish_devstack_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_devstack_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_devstack_using_subcommand
    set -l cmd (__fish_devstack_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c devstack -n "__fish_devstack_needs_command" -l project -d 'The project\'s folder [default: the nearest one at or above the current folder that holds a devstack.toml]' -r -F
complete -c devstack -n "__fish_devstack_needs_command" -l config -d 'The configuration file [env: DEVSTACK_CONFIG]' -r -F
complete -c devstack -n "__fish_devstack_needs_command" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c devstack -n "__fish_devstack_needs_command" -s q -l quiet -d 'Only failures'
complete -c devstack -n "__fish_devstack_needs_command" -s v -l verbose -d 'Also say which configuration and which supervisor are meant'
complete -c devstack -n "__fish_devstack_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c devstack -n "__fish_devstack_needs_command" -s V -l version -d 'Print version'
complete -c devstack -n "__fish_devstack_needs_command" -f -a "start" -d 'Start services and wait until they are ready'
complete -c devstack -n "__fish_devstack_needs_command" -f -a "stop" -d 'Stop services gracefully, whole trees, dependants first'
complete -c devstack -n "__fish_devstack_needs_command" -f -a "restart" -d 'Stop services, then start them with the configuration and env files as they are now'
complete -c devstack -n "__fish_devstack_needs_command" -f -a "status" -d 'Show every service\'s state, health, resources and restarts'
complete -c devstack -n "__fish_devstack_needs_command" -f -a "run" -d 'Run one service, or any command, in the foreground'
complete -c devstack -n "__fish_devstack_needs_command" -f -a "logs" -d 'Show what the workers wrote'
complete -c devstack -n "__fish_devstack_needs_command" -f -a "why" -d 'Explain how the last runs of a service ended: who, why, exit, log, traceback'
complete -c devstack -n "__fish_devstack_needs_command" -f -a "events" -d 'Show what happened: every start, end, restart and kill, and why'
complete -c devstack -n "__fish_devstack_needs_command" -f -a "cleanup-workers" -d 'End orphans and stale copies that are provably ours, and explain each'
complete -c devstack -n "__fish_devstack_needs_command" -f -a "upgrade" -d 'Have the running supervisor become this devstack; workers keep running'
complete -c devstack -n "__fish_devstack_needs_command" -f -a "check" -d 'Validate the configuration'
complete -c devstack -n "__fish_devstack_needs_command" -f -a "export" -d 'Write the same definition for another system: units, programs, scrape configuration and alerts, a dashboard, a deployment'
complete -c devstack -n "__fish_devstack_needs_command" -f -a "completions" -d 'Print the completion script of a shell'
complete -c devstack -n "__fish_devstack_needs_command" -f -a "supervise" -d 'Keeper and supervisor of a project; started by the other commands'
complete -c devstack -n "__fish_devstack_needs_command" -f -a "rotate-log" -d 'Moves the head of a log into an old log; started by the supervisor'
complete -c devstack -n "__fish_devstack_using_subcommand start" -l timeout -d 'Wait no longer than this, for instance 60s' -r
complete -c devstack -n "__fish_devstack_using_subcommand start" -l project -d 'The project\'s folder [default: the nearest one at or above the current folder that holds a devstack.toml]' -r -F
complete -c devstack -n "__fish_devstack_using_subcommand start" -l config -d 'The configuration file [env: DEVSTACK_CONFIG]' -r -F
complete -c devstack -n "__fish_devstack_using_subcommand start" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c devstack -n "__fish_devstack_using_subcommand start" -l restart -d 'Stop what runs first'
complete -c devstack -n "__fish_devstack_using_subcommand start" -l replace -d 'End copies that somebody runs on a terminal'
complete -c devstack -n "__fish_devstack_using_subcommand start" -l no-wait -d 'Return once the start has begun'
complete -c devstack -n "__fish_devstack_using_subcommand start" -l foreground -d 'Show all logs until Ctrl-C, which stops the services'
complete -c devstack -n "__fish_devstack_using_subcommand start" -s q -l quiet -d 'Only failures'
complete -c devstack -n "__fish_devstack_using_subcommand start" -s v -l verbose -d 'Also say which configuration and which supervisor are meant'
complete -c devstack -n "__fish_devstack_using_subcommand start" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c devstack -n "__fish_devstack_using_subcommand stop" -l timeout -d 'Kill what has not ended after this, for instance 5s [default: the service\'s stop_timeout]' -r
complete -c devstack -n "__fish_devstack_using_subcommand stop" -l project -d 'The project\'s folder [default: the nearest one at or above the current folder that holds a devstack.toml]' -r -F
complete -c devstack -n "__fish_devstack_using_subcommand stop" -l config -d 'The configuration file [env: DEVSTACK_CONFIG]' -r -F
complete -c devstack -n "__fish_devstack_using_subcommand stop" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c devstack -n "__fish_devstack_using_subcommand stop" -l kill -d 'Kill at once, without the stop signal'
complete -c devstack -n "__fish_devstack_using_subcommand stop" -l supervisor -d 'Stop everything and devstack\'s own processes too'
complete -c devstack -n "__fish_devstack_using_subcommand stop" -s q -l quiet -d 'Only failures'
complete -c devstack -n "__fish_devstack_using_subcommand stop" -s v -l verbose -d 'Also say which configuration and which supervisor are meant'
complete -c devstack -n "__fish_devstack_using_subcommand stop" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c devstack -n "__fish_devstack_using_subcommand restart" -l timeout -d 'Wait no longer than this, for instance 60s' -r
complete -c devstack -n "__fish_devstack_using_subcommand restart" -l project -d 'The project\'s folder [default: the nearest one at or above the current folder that holds a devstack.toml]' -r -F
complete -c devstack -n "__fish_devstack_using_subcommand restart" -l config -d 'The configuration file [env: DEVSTACK_CONFIG]' -r -F
complete -c devstack -n "__fish_devstack_using_subcommand restart" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c devstack -n "__fish_devstack_using_subcommand restart" -l no-wait -d 'Return once the restart has begun'
complete -c devstack -n "__fish_devstack_using_subcommand restart" -s q -l quiet -d 'Only failures'
complete -c devstack -n "__fish_devstack_using_subcommand restart" -s v -l verbose -d 'Also say which configuration and which supervisor are meant'
complete -c devstack -n "__fish_devstack_using_subcommand restart" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c devstack -n "__fish_devstack_using_subcommand status" -l project -d 'The project\'s folder [default: the nearest one at or above the current folder that holds a devstack.toml]' -r -F
complete -c devstack -n "__fish_devstack_using_subcommand status" -l config -d 'The configuration file [env: DEVSTACK_CONFIG]' -r -F
complete -c devstack -n "__fish_devstack_using_subcommand status" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c devstack -n "__fish_devstack_using_subcommand status" -s w -l watch -d 'Refresh in place, until q or Ctrl-C'
complete -c devstack -n "__fish_devstack_using_subcommand status" -l json -d 'One JSON document, for programs'
complete -c devstack -n "__fish_devstack_using_subcommand status" -l tree -d 'Show every process'
complete -c devstack -n "__fish_devstack_using_subcommand status" -s q -l quiet -d 'Only failures'
complete -c devstack -n "__fish_devstack_using_subcommand status" -s v -l verbose -d 'Also say which configuration and which supervisor are meant'
complete -c devstack -n "__fish_devstack_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c devstack -n "__fish_devstack_using_subcommand run" -l max-runtime -d 'Restart after so long, in hours or for instance 90m; 0: never' -r
complete -c devstack -n "__fish_devstack_using_subcommand run" -l memory-limit -d 'Of the whole tree, in MB or for instance 2GiB; 0: none' -r
complete -c devstack -n "__fish_devstack_using_subcommand run" -l cpu-limit -d 'Percent of one core, mean over ten seconds; 0: none' -r
complete -c devstack -n "__fish_devstack_using_subcommand run" -l health-port -d 'Serve /health, /ready and /metrics there, for this machine only unless an address is given; 0: nowhere' -r
complete -c devstack -n "__fish_devstack_using_subcommand run" -l project -d 'The project\'s folder [default: the nearest one at or above the current folder that holds a devstack.toml]' -r -F
complete -c devstack -n "__fish_devstack_using_subcommand run" -l config -d 'The configuration file [env: DEVSTACK_CONFIG]' -r -F
complete -c devstack -n "__fish_devstack_using_subcommand run" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c devstack -n "__fish_devstack_using_subcommand run" -l once -d 'Never start it again'
complete -c devstack -n "__fish_devstack_using_subcommand run" -s q -l quiet -d 'Only failures'
complete -c devstack -n "__fish_devstack_using_subcommand run" -s v -l verbose -d 'Also say which configuration and which supervisor are meant'
complete -c devstack -n "__fish_devstack_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c devstack -n "__fish_devstack_using_subcommand logs" -s n -l lines -d 'How many lines of each log to begin with [default: 100, or all that --since, --until, --run and --grep leave]' -r
complete -c devstack -n "__fish_devstack_using_subcommand logs" -l since -d 'From then on: 10m ago, 10:30 today, 2025-11-19 10:30:00, or with an offset. By the times that lines begin with' -r
complete -c devstack -n "__fish_devstack_using_subcommand logs" -l until -d 'Up to then, written as for --since' -r
complete -c devstack -n "__fish_devstack_using_subcommand logs" -l run -d 'What one run wrote: `last`, 2 for the one before it, or a run id' -r
complete -c devstack -n "__fish_devstack_using_subcommand logs" -l grep -d 'Only lines that match this regular expression' -r
complete -c devstack -n "__fish_devstack_using_subcommand logs" -l level -d 'Only lines at least as grave; a traceback has the level of its line. What names none counts as info' -r -f -a "debug\t''
info\t''
warning\t''
error\t''
critical\t''"
complete -c devstack -n "__fish_devstack_using_subcommand logs" -l project -d 'The project\'s folder [default: the nearest one at or above the current folder that holds a devstack.toml]' -r -F
complete -c devstack -n "__fish_devstack_using_subcommand logs" -l config -d 'The configuration file [env: DEVSTACK_CONFIG]' -r -F
complete -c devstack -n "__fish_devstack_using_subcommand logs" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c devstack -n "__fish_devstack_using_subcommand logs" -s f -l follow -d 'Go on with what is written from now on, until Ctrl-C'
complete -c devstack -n "__fish_devstack_using_subcommand logs" -l json -d 'An object a line: service, run, time, level, line'
complete -c devstack -n "__fish_devstack_using_subcommand logs" -l no-pager -d 'Straight to the terminal, without $DEVSTACK_PAGER, $PAGER or less'
complete -c devstack -n "__fish_devstack_using_subcommand logs" -s q -l quiet -d 'Only failures'
complete -c devstack -n "__fish_devstack_using_subcommand logs" -s v -l verbose -d 'Also say which configuration and which supervisor are meant'
complete -c devstack -n "__fish_devstack_using_subcommand logs" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c devstack -n "__fish_devstack_using_subcommand why" -s n -l ends -d 'How many ends to tell, the last one first' -r
complete -c devstack -n "__fish_devstack_using_subcommand why" -l project -d 'The project\'s folder [default: the nearest one at or above the current folder that holds a devstack.toml]' -r -F
complete -c devstack -n "__fish_devstack_using_subcommand why" -l config -d 'The configuration file [env: DEVSTACK_CONFIG]' -r -F
complete -c devstack -n "__fish_devstack_using_subcommand why" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c devstack -n "__fish_devstack_using_subcommand why" -l json -d 'One JSON document, for programs'
complete -c devstack -n "__fish_devstack_using_subcommand why" -s q -l quiet -d 'Only failures'
complete -c devstack -n "__fish_devstack_using_subcommand why" -s v -l verbose -d 'Also say which configuration and which supervisor are meant'
complete -c devstack -n "__fish_devstack_using_subcommand why" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c devstack -n "__fish_devstack_using_subcommand events" -s n -l lines -d 'How many to begin with' -r
complete -c devstack -n "__fish_devstack_using_subcommand events" -l project -d 'The project\'s folder [default: the nearest one at or above the current folder that holds a devstack.toml]' -r -F
complete -c devstack -n "__fish_devstack_using_subcommand events" -l config -d 'The configuration file [env: DEVSTACK_CONFIG]' -r -F
complete -c devstack -n "__fish_devstack_using_subcommand events" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c devstack -n "__fish_devstack_using_subcommand events" -s f -l follow -d 'Go on with what happens from now on, until Ctrl-C'
complete -c devstack -n "__fish_devstack_using_subcommand events" -l json -d 'One JSON object a line, for programs'
complete -c devstack -n "__fish_devstack_using_subcommand events" -s q -l quiet -d 'Only failures'
complete -c devstack -n "__fish_devstack_using_subcommand events" -s v -l verbose -d 'Also say which configuration and which supervisor are meant'
complete -c devstack -n "__fish_devstack_using_subcommand events" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c devstack -n "__fish_devstack_using_subcommand cleanup-workers" -l older-than -d 'Only what has been running longer, for instance 1d or 12h' -r
complete -c devstack -n "__fish_devstack_using_subcommand cleanup-workers" -l project -d 'The project\'s folder [default: the nearest one at or above the current folder that holds a devstack.toml]' -r -F
complete -c devstack -n "__fish_devstack_using_subcommand cleanup-workers" -l config -d 'The configuration file [env: DEVSTACK_CONFIG]' -r -F
complete -c devstack -n "__fish_devstack_using_subcommand cleanup-workers" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c devstack -n "__fish_devstack_using_subcommand cleanup-workers" -l dry-run -d 'Show what would be done, and do nothing'
complete -c devstack -n "__fish_devstack_using_subcommand cleanup-workers" -l include-manual -d 'Also copies that somebody runs on a terminal'
complete -c devstack -n "__fish_devstack_using_subcommand cleanup-workers" -l include-unproven -d 'Also processes whose command line says so, without any proof; asks first'
complete -c devstack -n "__fish_devstack_using_subcommand cleanup-workers" -l yes -d 'Do not ask'
complete -c devstack -n "__fish_devstack_using_subcommand cleanup-workers" -l managed -d 'Also the processes of living runs'
complete -c devstack -n "__fish_devstack_using_subcommand cleanup-workers" -l leftovers -d 'Also what dead pools left in /dev/shm and the folder for temporary files, if nobody uses it: named semaphores, shared memory, temp folders. Whose it was cannot be told, so it cannot be limited to services'
complete -c devstack -n "__fish_devstack_using_subcommand cleanup-workers" -l json -d 'Machine-readable'
complete -c devstack -n "__fish_devstack_using_subcommand cleanup-workers" -s q -l quiet -d 'Only failures'
complete -c devstack -n "__fish_devstack_using_subcommand cleanup-workers" -s v -l verbose -d 'Also say which configuration and which supervisor are meant'
complete -c devstack -n "__fish_devstack_using_subcommand cleanup-workers" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c devstack -n "__fish_devstack_using_subcommand upgrade" -l project -d 'The project\'s folder [default: the nearest one at or above the current folder that holds a devstack.toml]' -r -F
complete -c devstack -n "__fish_devstack_using_subcommand upgrade" -l config -d 'The configuration file [env: DEVSTACK_CONFIG]' -r -F
complete -c devstack -n "__fish_devstack_using_subcommand upgrade" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c devstack -n "__fish_devstack_using_subcommand upgrade" -s q -l quiet -d 'Only failures'
complete -c devstack -n "__fish_devstack_using_subcommand upgrade" -s v -l verbose -d 'Also say which configuration and which supervisor are meant'
complete -c devstack -n "__fish_devstack_using_subcommand upgrade" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c devstack -n "__fish_devstack_using_subcommand check" -l project -d 'The project\'s folder [default: the nearest one at or above the current folder that holds a devstack.toml]' -r -F
complete -c devstack -n "__fish_devstack_using_subcommand check" -l config -d 'The configuration file [env: DEVSTACK_CONFIG]' -r -F
complete -c devstack -n "__fish_devstack_using_subcommand check" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c devstack -n "__fish_devstack_using_subcommand check" -l show -d 'Print the resolved configuration: every default filled in, environment values left out'
complete -c devstack -n "__fish_devstack_using_subcommand check" -s q -l quiet -d 'Only failures'
complete -c devstack -n "__fish_devstack_using_subcommand check" -s v -l verbose -d 'Also say which configuration and which supervisor are meant'
complete -c devstack -n "__fish_devstack_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c devstack -n "__fish_devstack_using_subcommand export" -l out -d 'Write the files there, instead of to standard output' -r -F
complete -c devstack -n "__fish_devstack_using_subcommand export" -l env-file -d 'Another file of KEY=value lines that every service reads there; named, never copied [repeatable]' -r -F
complete -c devstack -n "__fish_devstack_using_subcommand export" -l project -d 'The project\'s folder [default: the nearest one at or above the current folder that holds a devstack.toml]' -r -F
complete -c devstack -n "__fish_devstack_using_subcommand export" -l config -d 'The configuration file [env: DEVSTACK_CONFIG]' -r -F
complete -c devstack -n "__fish_devstack_using_subcommand export" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c devstack -n "__fish_devstack_using_subcommand export" -l check -d 'Write nothing; fail with the difference where a file in --out is not what would be written'
complete -c devstack -n "__fish_devstack_using_subcommand export" -l user -d 'systemd: units for the service manager of a user'
complete -c devstack -n "__fish_devstack_using_subcommand export" -s q -l quiet -d 'Only failures'
complete -c devstack -n "__fish_devstack_using_subcommand export" -s v -l verbose -d 'Also say which configuration and which supervisor are meant'
complete -c devstack -n "__fish_devstack_using_subcommand export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c devstack -n "__fish_devstack_using_subcommand completions" -l project -d 'The project\'s folder [default: the nearest one at or above the current folder that holds a devstack.toml]' -r -F
complete -c devstack -n "__fish_devstack_using_subcommand completions" -l config -d 'The configuration file [env: DEVSTACK_CONFIG]' -r -F
complete -c devstack -n "__fish_devstack_using_subcommand completions" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c devstack -n "__fish_devstack_using_subcommand completions" -s q -l quiet -d 'Only failures'
complete -c devstack -n "__fish_devstack_using_subcommand completions" -s v -l verbose -d 'Also say which configuration and which supervisor are meant'
complete -c devstack -n "__fish_devstack_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c devstack -n "__fish_devstack_using_subcommand supervise" -l project -d 'The project\'s folder [default: the nearest one at or above the current folder that holds a devstack.toml]' -r -F
complete -c devstack -n "__fish_devstack_using_subcommand supervise" -l config -d 'The configuration file [env: DEVSTACK_CONFIG]' -r -F
complete -c devstack -n "__fish_devstack_using_subcommand supervise" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c devstack -n "__fish_devstack_using_subcommand supervise" -s q -l quiet -d 'Only failures'
complete -c devstack -n "__fish_devstack_using_subcommand supervise" -s v -l verbose -d 'Also say which configuration and which supervisor are meant'
complete -c devstack -n "__fish_devstack_using_subcommand supervise" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c devstack -n "__fish_devstack_using_subcommand rotate-log" -l project -d 'The project\'s folder [default: the nearest one at or above the current folder that holds a devstack.toml]' -r -F
complete -c devstack -n "__fish_devstack_using_subcommand rotate-log" -l config -d 'The configuration file [env: DEVSTACK_CONFIG]' -r -F
complete -c devstack -n "__fish_devstack_using_subcommand rotate-log" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t''
never\t''"
complete -c devstack -n "__fish_devstack_using_subcommand rotate-log" -s q -l quiet -d 'Only failures'
complete -c devstack -n "__fish_devstack_using_subcommand rotate-log" -s v -l verbose -d 'Also say which configuration and which supervisor are meant'
complete -c devstack -n "__fish_devstack_using_subcommand rotate-log" -s h -l help -d 'Print help (see more with \'--help\')'
