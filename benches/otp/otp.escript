#!/usr/bin/env escript
%%! +S 2:2 +P 4000000
%%
%% The model of all supervisors: OTP's own, with the command line, the work and the output of the other contenders.
%%
%%     otp.escript <workload> <current|multi> <services> <times>
%%
%% How it is set up:
%%
%% - Two schedulers, like tokio's two workers; `current` takes one of them off line. `+P` is room for millions of processes.
%% - One `one_for_one` supervisor, whose `init/1` returns all children: `start_child` would queue behind the restarts of those that loop.
%%   They have names, and are listed by them. A restart looks for its child among all of them; `simple_one_for_one` does not, but its
%%   children have no names.
%% - Permanent children, five seconds to end, an intensity that is never reached, and the shortest period, a second. Each restart walks
%%   through those of the last period, which is what limits a storm: its first moments are much faster than the rest.
%% - A child is a plain process of `proc_lib`, linked to its supervisor. It traps no exits, so that the signal of the supervisor ends it.
%%   Its start does not wait until it runs, as no spawn of the others does.
%% - The logger is off: crash reports would take longer than the restarts. A run fails by `exit`, and panics by `error`, which comes with
%%   a stack trace.
-module(otp).
-mode(compile).
-behaviour(supervisor).
-export([main/1, init/1, start/1, run/1]).

%% How often a storm is repeated with and without a reader.
-define(ROUNDS, 5).

%% More restarts than that take too long. Fewer would flatter: it takes thousands until a storm is as slow as it stays.
-define(MOST_RESTARTS, 10_000).

%% Words of its heap that a supervisor needs for a child. Room for them from the start saves half of the time of a large fleet, which is
%% copied again and again otherwise, while the heap grows.
-define(WORDS_A_CHILD, 80).

-record(job, {workload, engine, services, times}).

%% Opens when everybody has passed it.
-record(gate, {left, owner, opens}).

%% One service of a storm.
-record(cloud, {wrong, times, runs, started, over}).

%% What was measured, how much of it there is, and when it failed.
-record(chart, {times, taken, count, failed_at, over}).

main([Workload, Engine, Services, Times]) ->
    Job = #job{
        workload = Workload,
        engine = Engine,
        services = list_to_integer(Services),
        times = list_to_integer(Times)
    },
    ok = logger:set_primary_config(level, none),
    erlang:system_flag(schedulers_online, schedulers(Engine)),
    note(Job),
    measure(Job);
main(_) ->
    io:put_chars(standard_error, "usage: <workload> <current|multi> <services> <times>\n"),
    halt(1).

schedulers("current") -> 1;
schedulers("multi") -> 2.

%% What it does otherwise than the others.
note(#job{workload = "reader", engine = "current"}) ->
    io:put_chars("note the reader shares the only scheduler\n");
note(#job{workload = Workload}) when Workload =:= "storm"; Workload =:= "panics" ->
    io:put_chars("note the more restarts in the last second, the slower\n");
note(_) ->
    ok.

measure(#job{workload = "idle"} = Job) -> idle(Job);
measure(#job{workload = "storm"} = Job) -> storms(not_too_long(Job), fails);
measure(#job{workload = "panics"} = Job) -> storms(not_too_long(Job), panics);
measure(#job{workload = "reader"} = Job) -> reader(not_too_long(Job));
measure(#job{workload = "latency"} = Job) -> latency(Job);
measure(#job{workload = "timer"} = Job) -> timer(Job).

not_too_long(#job{services = N, times = Times} = Job) ->
    Job#job{times = min(Times, max(1, ?MOST_RESTARTS div N))}.

%%% The fleet.

%% Starts these services.
fleet(Services) ->
    {ok, Fleet} = supervisor:start_link(?MODULE, Services),
    Fleet.

init(Services) ->
    process_flag(min_heap_size, ?WORDS_A_CHILD * length(Services)),
    Flags = #{strategy => one_for_one, intensity => 1 bsl 40, period => 1},
    {ok, {Flags, [child(Service) || Service <- Services]}}.

child({Name, Work}) ->
    #{id => Name, start => {?MODULE, start, [Work]}, restart => permanent, shutdown => 5000}.

start(Work) ->
    {ok, proc_lib:spawn_link(?MODULE, run, [Work])}.

%% How many there are, after the name and the state of each were read.
list(Fleet) ->
    Children = supervisor:which_children(Fleet),
    length([Name || {Name, State, _, _} <- Children, is_pid(State) orelse State =:= restarting]).

%% Its supervisor ends all children, and waits for each.
shutdown(Fleet) ->
    gen_server:stop(Fleet).

%%% What the services do.

%% Waits to be stopped.
run({idle, Started}) ->
    pass(Started),
    until_stopped();
%% Waits for the signal, fails so many times in a row, and then waits to be stopped.
run({storm, #cloud{times = Times} = Cloud}) ->
    Run = atomics:add_get(Cloud#cloud.runs, 1, 1) - 1,
    Run =:= 0 andalso await_signal(Cloud),
    Run =:= Times andalso pass(Cloud#cloud.over),
    Run >= Times andalso until_stopped(),
    case Cloud#cloud.wrong of
        fails -> exit(broken);
        panics -> error(broken)
    end;
%% Fails again and again, a few turns of the scheduler after each start, and notes how long it took to be back.
run({patient, Chart}) ->
    Now = now_ns(),
    case atomics:get(Chart#chart.failed_at, 1) of
        0 -> ok;
        FailedAt -> note_taken(Chart, Now - FailedAt) andalso is_over(Chart)
    end,
    [erlang:yield() || _ <- "8 turns."],
    atomics:put(Chart#chart.failed_at, 1, now_ns()),
    exit(broken);
%% Fails at once, for ever.
run({loop, Until}) ->
    atomics:get(Until, 1) =:= 1 andalso until_stopped(),
    exit(broken);
%% Sleeps, and notes how late it woke.
run({sleeper, Chart}) ->
    Due = now_ns() + 5_000_000,
    receive after 5 -> ok end,
    note_taken(Chart, now_ns() - Due) andalso is_over(Chart),
    run({sleeper, Chart}).

await_signal(Cloud) ->
    pass(Cloud#cloud.started),
    receive signal -> true end.

is_over(Chart) ->
    pass(Chart#chart.over),
    until_stopped().

until_stopped() ->
    receive stop -> true end.

%%% What is measured.

idle(#job{services = N} = Job) ->
    Before = memory([self()]),
    Started = gate(N),
    Services = services(Job, fun() -> {idle, Started} end),
    {Spawn, Fleet} = timed(fun() ->
        Fleet = fleet(Services),
        wait(Started),
        Fleet
    end),
    say("spawn_ns", Spawn / N),
    say("live_bytes", (memory([self(), Fleet]) - Before) / N),
    {List, N} = timed(fun() -> aside(fun() -> list(Fleet) end) end),
    say("list_ns", List / N),
    {Shutdown, ok} = timed(fun() -> shutdown(Fleet) end),
    say("shutdown_ns", Shutdown / N).

storms(Job, Wrong) ->
    {Fleet, Sky} = gather(Job, Wrong),
    Took = storm(Sky),
    say("restarts_per_s", rate(Job, Took)),
    shutdown(Fleet).

%% A fleet that has started, and waits for the signal; and what it takes to give it.
gather(#job{services = N, times = Times} = Job, Wrong) ->
    Started = gate(N),
    Over = gate(N),
    Cloud = #cloud{wrong = Wrong, times = Times, started = Started, over = Over},
    Fleet = fleet(services(Job, fun() -> {storm, Cloud#cloud{runs = atomics:new(1, [])}} end)),
    wait(Started),
    Pids = [Pid || {_, Pid, _, _} <- supervisor:which_children(Fleet)],
    {Fleet, {Pids, Over}}.

storm({Pids, Over}) ->
    {Took, ok} = timed(fun() ->
        [Pid ! signal || Pid <- Pids],
        wait(Over)
    end),
    Took.

rate(#job{services = N, times = Times}, Took) ->
    N * Times * 1.0e9 / Took.

reader(Job) ->
    Rounds = [reader_round(Job) || _ <- lists:seq(1, ?ROUNDS)],
    {Alone, Read, Lists} = lists:unzip3(Rounds),
    say("alone_per_s", median(Alone)),
    say("restarts_per_s", median(Read)),
    say("lists_per_s", median(Lists)).

reader_round(Job) ->
    {Quiet, QuietSky} = gather(Job, fails),
    Alone = rate(Job, storm(QuietSky)),
    shutdown(Quiet),

    {Fleet, Sky} = gather(Job, fails),
    Over = atomics:new(1, []),
    Reader = begin_aside(fun() -> list_until(Over, Fleet, 0) end),
    Took = storm(Sky),
    atomics:put(Over, 1, 1),
    Lists = end_aside(Reader),
    shutdown(Fleet),
    {Alone, rate(Job, Took), Lists * 1.0e9 / Took}.

list_until(Over, Fleet, Lists) ->
    case atomics:get(Over, 1) of
        0 ->
            list(Fleet),
            list_until(Over, Fleet, Lists + 1);
        1 ->
            Lists
    end.

latency(#job{services = N} = Job) ->
    Chart = chart(Job),
    Started = gate(max(1, N)),
    N =:= 0 andalso pass(Started),
    Siblings = services(Job, fun() -> {idle, Started} end),
    Fleet = fleet(Siblings ++ [{<<"patient">>, {patient, Chart}}]),
    wait(Started),
    wait(Chart#chart.over),
    shutdown(Fleet),
    quantiles("latency", sorted(Chart)).

timer(Job) ->
    Chart = chart(Job),
    Until = atomics:new(1, []),
    Loops = services(Job, fun() -> {loop, Until} end),
    Fleet = fleet([{<<"sleeper">>, {sleeper, Chart}} | Loops]),
    wait(Chart#chart.over),
    atomics:put(Until, 1, 1),
    shutdown(Fleet),
    quantiles("late", sorted(Chart)).

%% So many services with this work.
services(#job{services = N}, Work) ->
    [{iolist_to_binary(io_lib:format("service-~7..0w", [I])), Work()} || I <- lists:seq(0, N - 1)].

chart(#job{times = Times}) ->
    #chart{
        times = Times,
        taken = atomics:new(Times, []),
        count = atomics:new(1, []),
        failed_at = atomics:new(1, []),
        over = gate(1)
    }.

%% Whether that was the last one.
note_taken(#chart{times = Times} = Chart, Taken) ->
    Count = atomics:add_get(Chart#chart.count, 1, 1),
    atomics:put(Chart#chart.taken, Count, Taken),
    Count =:= Times.

sorted(#chart{times = Times, taken = Taken}) ->
    lists:sort([atomics:get(Taken, I) || I <- lists:seq(1, Times)]).

%% A gate that this process waits at.
gate(N) ->
    Left = atomics:new(1, []),
    atomics:put(Left, 1, N),
    #gate{left = Left, owner = self(), opens = make_ref()}.

pass(#gate{left = Left, owner = Owner, opens = Opens}) ->
    case atomics:sub_get(Left, 1, 1) of
        0 -> Owner ! Opens;
        _ -> more
    end.

wait(#gate{opens = Opens}) ->
    receive Opens -> ok end.

%% In a process of its own.
aside(Act) ->
    end_aside(begin_aside(Act)).

begin_aside(Act) ->
    Owner = self(),
    Result = make_ref(),
    spawn_link(fun() -> Owner ! {Result, Act()} end),
    Result.

end_aside(Result) ->
    receive {Result, Value} -> Value end.

now_ns() ->
    erlang:monotonic_time(nanosecond).

timed(Act) ->
    Begun = now_ns(),
    Result = Act(),
    {now_ns() - Begun, Result}.

%% What is in use, once these have given back what is not.
memory(Pids) ->
    lists:foreach(fun erlang:garbage_collect/1, Pids),
    erlang:memory(total).

median(All) ->
    lists:nth(length(All) div 2 + 1, lists:sort(All)).

%% Of what is sorted.
quantiles(Name, All) ->
    [
        say([Name, $_, Suffix, "_ns"], lists:nth(min(trunc(length(All) * Share), length(All) - 1) + 1, All))
     || {Suffix, Share} <- [{"p50", 0.5}, {"p99", 0.99}, {"p999", 0.999}]
    ].

say(Name, Value) ->
    io:format("~s ~.3f~n", [Name, float(Value)]).
