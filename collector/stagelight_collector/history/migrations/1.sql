-- The tables of history. Statements are separated by a line that holds only `;`, run in order, and each of them may
-- run again: a start that was killed half-way is finished by the next one.
--
-- otel_*: names, columns and order are those of the OpenTelemetry Collector's ClickHouse exporter, so that dashboards
-- made for it work. `history/layout.py` puts them on a cluster, and text indexes in the place of Bloom filters.
-- stagelight_*_states hold only joins of a semilattice (min, max, union), the same ones as rooms/state.py: rows may
-- come in any order and any number of times.

CREATE TABLE IF NOT EXISTS otel_traces
(
    Timestamp DateTime64(9) CODEC(Delta(8), ZSTD(1)),
    TraceId String CODEC(ZSTD(1)),
    SpanId String CODEC(ZSTD(1)),
    ParentSpanId String CODEC(ZSTD(1)),
    TraceState String CODEC(ZSTD(1)),
    SpanName LowCardinality(String) CODEC(ZSTD(1)),
    SpanKind LowCardinality(String) CODEC(ZSTD(1)),
    ServiceName LowCardinality(String) CODEC(ZSTD(1)),
    ResourceAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    ScopeName String CODEC(ZSTD(1)),
    ScopeVersion String CODEC(ZSTD(1)),
    SpanAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    Duration UInt64 CODEC(T64, ZSTD(1)),
    StatusCode LowCardinality(String) CODEC(ZSTD(1)),
    StatusMessage String CODEC(ZSTD(1)),
    Events Nested (Timestamp DateTime64(9), Name LowCardinality(String), Attributes Map(LowCardinality(String), String)) CODEC(ZSTD(1)),
    Links Nested (TraceId String, SpanId String, TraceState String, Attributes Map(LowCardinality(String), String)) CODEC(ZSTD(1)),
    ResourceAttributeItems Array(String) ALIAS arrayMap(kv -> concat(kv.1, '=', kv.2), CAST(ResourceAttributes, 'Array(Tuple(String, String))')),
    SpanAttributeItems Array(String) ALIAS arrayMap(kv -> concat(kv.1, '=', kv.2), CAST(SpanAttributes, 'Array(Tuple(String, String))')),
    WorkflowName LowCardinality(String) MATERIALIZED SpanAttributes['workflow.name'] CODEC(ZSTD(1)),
    WorkflowRunId String MATERIALIZED SpanAttributes['workflow.run.id'] CODEC(ZSTD(1)),
    WorkflowStepName LowCardinality(String) MATERIALIZED SpanAttributes['workflow.step.name'] CODEC(ZSTD(1)),
    WorkflowStepId String MATERIALIZED SpanAttributes['workflow.step.id'] CODEC(ZSTD(1)),
    WorkflowStepKind LowCardinality(String) MATERIALIZED SpanAttributes['workflow.step.kind'] CODEC(ZSTD(1)),
    WorkflowStatus LowCardinality(String) MATERIALIZED SpanAttributes['workflow.status'] CODEC(ZSTD(1)),
    INDEX idx_trace_id TraceId TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX idx_res_attr_key mapKeys(ResourceAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_res_attr_value mapValues(ResourceAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_span_attr_key mapKeys(SpanAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_span_attr_value mapValues(SpanAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_duration Duration TYPE minmax GRANULARITY 1,
    INDEX idx_lower_span_name lower(SpanName) TYPE tokenbf_v1(32768, 3, 0) GRANULARITY 8,
    INDEX idx_workflow_run_id WorkflowRunId TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toDate(Timestamp)
PRIMARY KEY (ServiceName, SpanName, toDateTime(Timestamp))
ORDER BY (ServiceName, SpanName, toDateTime(Timestamp), Timestamp)
SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1,
    non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
;
CREATE TABLE IF NOT EXISTS otel_traces_trace_id_ts
(
    TraceId String CODEC(ZSTD(1)),
    Start SimpleAggregateFunction(min, DateTime) CODEC(ZSTD(1)),
    End SimpleAggregateFunction(max, DateTime) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toStartOfWeek(Start)
ORDER BY (TraceId)
SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1,
    non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
;
CREATE MATERIALIZED VIEW IF NOT EXISTS otel_traces_trace_id_ts_mv TO otel_traces_trace_id_ts AS
SELECT TraceId, min(Timestamp) AS Start, max(Timestamp) AS End
FROM otel_traces
WHERE TraceId != ''
GROUP BY TraceId
;
CREATE TABLE IF NOT EXISTS otel_logs
(
    Timestamp DateTime64(9) CODEC(Delta(8), ZSTD(1)),
    TraceId String CODEC(ZSTD(1)),
    SpanId String CODEC(ZSTD(1)),
    TraceFlags UInt8,
    SeverityText LowCardinality(String) CODEC(ZSTD(1)),
    SeverityNumber UInt8,
    ServiceName LowCardinality(String) CODEC(ZSTD(1)),
    Body String CODEC(ZSTD(1)),
    ResourceSchemaUrl LowCardinality(String) CODEC(ZSTD(1)),
    ResourceAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    ScopeSchemaUrl LowCardinality(String) CODEC(ZSTD(1)),
    ScopeName String CODEC(ZSTD(1)),
    ScopeVersion LowCardinality(String) CODEC(ZSTD(1)),
    ScopeAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    LogAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    EventName String CODEC(ZSTD(1)),
    `__otel_materialized_k8s.cluster.name` LowCardinality(String) MATERIALIZED ResourceAttributes['k8s.cluster.name'] CODEC(ZSTD(1)),
    `__otel_materialized_k8s.container.name` LowCardinality(String) MATERIALIZED ResourceAttributes['k8s.container.name'] CODEC(ZSTD(1)),
    `__otel_materialized_k8s.deployment.name` LowCardinality(String) MATERIALIZED ResourceAttributes['k8s.deployment.name'] CODEC(ZSTD(1)),
    `__otel_materialized_k8s.namespace.name` LowCardinality(String) MATERIALIZED ResourceAttributes['k8s.namespace.name'] CODEC(ZSTD(1)),
    `__otel_materialized_k8s.node.name` LowCardinality(String) MATERIALIZED ResourceAttributes['k8s.node.name'] CODEC(ZSTD(1)),
    `__otel_materialized_k8s.pod.name` LowCardinality(String) MATERIALIZED ResourceAttributes['k8s.pod.name'] CODEC(ZSTD(1)),
    `__otel_materialized_k8s.pod.uid` LowCardinality(String) MATERIALIZED ResourceAttributes['k8s.pod.uid'] CODEC(ZSTD(1)),
    `__otel_materialized_deployment.environment.name` LowCardinality(String) MATERIALIZED ResourceAttributes['deployment.environment.name'] CODEC(ZSTD(1)),
    WorkflowName LowCardinality(String) MATERIALIZED LogAttributes['workflow.name'] CODEC(ZSTD(1)),
    WorkflowRunId String MATERIALIZED LogAttributes['workflow.run.id'] CODEC(ZSTD(1)),
    WorkflowStepName LowCardinality(String) MATERIALIZED LogAttributes['workflow.step.name'] CODEC(ZSTD(1)),
    INDEX idx_trace_id TraceId TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX idx_res_attr_key mapKeys(ResourceAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_res_attr_value mapValues(ResourceAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_scope_attr_key mapKeys(ScopeAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_scope_attr_value mapValues(ScopeAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_log_attr_key mapKeys(LogAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_log_attr_value mapValues(LogAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_lower_body lower(Body) TYPE tokenbf_v1(32768, 3, 0) GRANULARITY 8,
    INDEX idx_workflow_run_id WorkflowRunId TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toDate(Timestamp)
ORDER BY (toStartOfFiveMinutes(Timestamp), ServiceName, Timestamp)
SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1,
    non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
;
-- Every event once: the same fact stored twice is one row after a merge, and the reader leaves out what is not merged.
-- Data is the truth from which a run is rebuilt; the columns beside it are for queries.
CREATE TABLE IF NOT EXISTS stagelight_events
(
    RunId String CODEC(ZSTD(1)),
    Time DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    Received DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    Type LowCardinality(String) CODEC(ZSTD(1)),
    Workflow LowCardinality(String) CODEC(ZSTD(1)),
    Service LowCardinality(String) CODEC(ZSTD(1)),
    TraceId String CODEC(ZSTD(1)),
    SpanId String CODEC(ZSTD(1)),
    StepId String CODEC(ZSTD(1)),
    StepName LowCardinality(String) CODEC(ZSTD(1)),
    StepKind LowCardinality(String) CODEC(ZSTD(1)),
    ParentStepId String CODEC(ZSTD(1)),
    ParentRunId String CODEC(ZSTD(1)),
    ChildRunId String CODEC(ZSTD(1)),
    Attempt UInt32 CODEC(ZSTD(1)),
    ErrorType LowCardinality(String) CODEC(ZSTD(1)),
    ErrorMessage String CODEC(ZSTD(1)),
    Data String CODEC(ZSTD(1)),
    Hash UInt64 MATERIALIZED cityHash64(Data) CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toMonday(Time)
ORDER BY (RunId, Time, Type, StepId, Attempt, Hash)
SETTINGS index_granularity = 1024, ttl_only_drop_parts = 1,
    non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
;
-- Compact parts and small granules: a page of the list looks up some hundred runs that lie far apart, which took 29 ms
-- among 3 million against 269 ms in wide parts.
-- 9223372036854775807 stands for "never" where the smallest time wins, 0 where the greatest does.
CREATE TABLE IF NOT EXISTS stagelight_run_states
(
    RunId String CODEC(ZSTD(1)),
    Workflow SimpleAggregateFunction(min, Tuple(Time Int64, Value String)) CODEC(ZSTD(1)),
    Service SimpleAggregateFunction(min, Tuple(Time Int64, Value String)) CODEC(ZSTD(1)),
    ParentRunId SimpleAggregateFunction(min, Tuple(Time Int64, Value String)) CODEC(ZSTD(1)),
    ParentStepId SimpleAggregateFunction(min, Tuple(Time Int64, Value String)) CODEC(ZSTD(1)),
    First SimpleAggregateFunction(min, Int64) CODEC(ZSTD(1)),
    Began SimpleAggregateFunction(min, Int64) CODEC(ZSTD(1)),
    Resumed SimpleAggregateFunction(max, Int64) CODEC(ZSTD(1)),
    HasSteps SimpleAggregateFunction(max, UInt8) CODEC(ZSTD(1)),
    Last SimpleAggregateFunction(max, Tuple(Time Int64, Type String)) CODEC(ZSTD(1)),
    Phase SimpleAggregateFunction(max, Tuple(Time Int64, Rank UInt8, Status String)) CODEC(ZSTD(1)),
    Ending SimpleAggregateFunction(max, Tuple(Time Int64, Status String, ErrorType String, ErrorMessage String)) CODEC(ZSTD(1)),
    TraceIds SimpleAggregateFunction(groupUniqArrayArray, Array(String)) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
ORDER BY RunId
SETTINGS index_granularity = 128, min_bytes_for_wide_part = 1000000000000,
    non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
;
CREATE MATERIALIZED VIEW IF NOT EXISTS stagelight_run_states_mv TO stagelight_run_states AS
WITH
    toUnixTimestamp64Nano(e.Time) AS At,
    9223372036854775807 AS Never,
    toString(e.Type) AS Fact,
    e.StepId = '' AND Fact != 'log' AS OfRun,
    ['run_created', 'run_queued', 'run_started', 'run_resumed', 'run_waiting', 'run_paused'] AS Phases,
    ['pending', 'queued', 'running', 'running', 'waiting', 'paused'] AS Statuses
SELECT
    e.RunId AS RunId,
    min((if(e.Workflow = '', Never, At), toString(e.Workflow))) AS Workflow,
    min((if(e.Service = '', Never, At), toString(e.Service))) AS Service,
    min(if(OfRun AND e.ParentRunId != '', (At, e.ParentRunId), (Never, ''))) AS ParentRunId,
    min(if(OfRun AND e.ParentStepId != '', (At, e.ParentStepId), (Never, ''))) AS ParentStepId,
    min(if(At = 0, Never, At)) AS First,
    min(if(OfRun AND Fact = 'run_started', At, Never)) AS Began,
    max(if(OfRun AND Fact = 'run_resumed', At, -1)) AS Resumed,
    max(e.StepId != '' AND Fact != 'log') AS HasSteps,
    max((At, Fact)) AS Last,
    maxIf((At, toUInt8(indexOf(Phases, Fact)), transform(Fact, Phases, Statuses, '')), OfRun AND has(Phases, Fact)) AS Phase,
    maxIf(
        (At, substring(Fact, 5), toString(e.ErrorType), e.ErrorMessage),
        OfRun AND Fact IN ('run_completed', 'run_failed', 'run_terminated')
    ) AS Ending,
    groupUniqArrayIf(e.TraceId, e.TraceId != '') AS TraceIds
FROM stagelight_events AS e
GROUP BY e.RunId
;
CREATE TABLE IF NOT EXISTS stagelight_step_states
(
    RunId String CODEC(ZSTD(1)),
    StepId String CODEC(ZSTD(1)),
    Name SimpleAggregateFunction(min, Tuple(Time Int64, Value String)) CODEC(ZSTD(1)),
    Kind SimpleAggregateFunction(min, Tuple(Time Int64, Value String)) CODEC(ZSTD(1)),
    ParentStepId SimpleAggregateFunction(min, Tuple(Time Int64, Value String)) CODEC(ZSTD(1)),
    ChildRunId SimpleAggregateFunction(min, Tuple(Time Int64, Value String)) CODEC(ZSTD(1)),
    Began SimpleAggregateFunction(min, Int64) CODEC(ZSTD(1)),
    Attempt SimpleAggregateFunction(max, UInt32) CODEC(ZSTD(1)),
    Ending SimpleAggregateFunction(max, Tuple(Attempt UInt32, Time Int64, Status String, ErrorType String, ErrorMessage String)) CODEC(ZSTD(1)),
    Slept SimpleAggregateFunction(max, Int64) CODEC(ZSTD(1)),
    Woke SimpleAggregateFunction(max, Int64) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
ORDER BY (RunId, StepId)
SETTINGS index_granularity = 256, min_bytes_for_wide_part = 1000000000000,
    non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
;
CREATE MATERIALIZED VIEW IF NOT EXISTS stagelight_step_states_mv TO stagelight_step_states AS
WITH
    toUnixTimestamp64Nano(e.Time) AS At,
    9223372036854775807 AS Never,
    toString(e.Type) AS Fact,
    greatest(e.Attempt, 1) AS Try,
    Fact IN ('step_started', 'attempt_started') AS IsStart,
    ['step_completed', 'step_failed', 'step_skipped', 'attempt_failed'] AS Ends,
    ['completed', 'failed', 'skipped', 'failed'] AS Statuses
SELECT
    e.RunId AS RunId,
    e.StepId AS StepId,
    min((if(e.StepName = '', Never, At), toString(e.StepName))) AS Name,
    min((if(e.StepKind = '', Never, At), toString(e.StepKind))) AS Kind,
    min((if(e.ParentStepId = '', Never, At), e.ParentStepId)) AS ParentStepId,
    min((if(e.ChildRunId = '', Never, At), e.ChildRunId)) AS ChildRunId,
    min(if(IsStart, At, Never)) AS Began,
    max(if(IsStart OR has(Ends, Fact), Try, 0)) AS Attempt,
    maxIf(
        (toUInt32(Try), At, transform(Fact, Ends, Statuses, ''), toString(e.ErrorType), e.ErrorMessage),
        has(Ends, Fact)
    ) AS Ending,
    max(if(Fact IN ('sleep_started', 'wait_started'), At, -1)) AS Slept,
    max(if(Fact IN ('sleep_completed', 'wait_completed', 'wait_timed_out'), At, -1)) AS Woke
FROM stagelight_events AS e
WHERE e.StepId != '' AND e.Type != 'log'
GROUP BY e.RunId, e.StepId
;
-- When a run was heard of, to ten seconds: what the list of runs walks, newest first, so that a page costs the same
-- however many runs there are. A run's earliest period is the one it is listed in.
CREATE TABLE IF NOT EXISTS stagelight_run_periods
(
    Period UInt32 CODEC(Delta(4), ZSTD(1)),
    RunId String CODEC(ZSTD(1)),
    Workflow LowCardinality(String) CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree
ORDER BY (Period, RunId, Workflow)
SETTINGS index_granularity = 1024,
    non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
;
CREATE MATERIALIZED VIEW IF NOT EXISTS stagelight_run_periods_mv TO stagelight_run_periods AS
SELECT toUInt32(intDiv(toUnixTimestamp64Nano(e.Time), 10000000000)) AS Period, e.RunId AS RunId, e.Workflow AS Workflow
FROM stagelight_events AS e
GROUP BY Period, RunId, Workflow
;
-- What people and dashboards read. A filter by RunId reaches the primary key; for a range of time add
-- `RunId IN (SELECT RunId FROM stagelight_run_periods WHERE Period >= … )`, Period being Unix seconds / 10.
CREATE VIEW IF NOT EXISTS stagelight_runs AS
SELECT
    RunId,
    W.2 AS Workflow,
    S.2 AS Service,
    multiIf(Over, E.2, P.3 != '', P.3, Steps, 'running', 'pending') AS Status,
    fromUnixTimestamp64Nano(Start, 'UTC') AS Started,
    if(Over, fromUnixTimestamp64Nano(E.1, 'UTC'), NULL) AS Ended,
    if(Over, greatest(E.1 - Start, 0) / 1e6, NULL) AS DurationMs,
    fromUnixTimestamp64Nano(L.1, 'UTC') AS LastEvent,
    L.2 AS LastEventType,
    if(Over, E.3, '') AS ErrorType,
    if(Over, E.4, '') AS ErrorMessage,
    PR.2 AS ParentRunId,
    PS.2 AS ParentStepId,
    arraySort(T) AS TraceIds
FROM
(
    SELECT
        RunId,
        min(Workflow) AS W,
        min(Service) AS S,
        min(ParentRunId) AS PR,
        min(ParentStepId) AS PS,
        max(HasSteps) AS Steps,
        max(Last) AS L,
        max(Phase) AS P,
        max(Ending) AS E,
        groupUniqArrayArray(TraceIds) AS T,
        if(min(Began) = 9223372036854775807, min(First), min(Began)) AS Start,
        E.2 != '' AND max(Resumed) <= E.1 AS Over
    FROM stagelight_run_states
    GROUP BY RunId
)
;
CREATE VIEW IF NOT EXISTS stagelight_steps AS
SELECT
    RunId,
    StepId,
    N.2 AS StepName,
    K.2 AS StepKind,
    multiIf(Over, E.3, Sleeping, 'waiting', Tries > 0, 'running', 'pending') AS Status,
    if(Start = 9223372036854775807, NULL, fromUnixTimestamp64Nano(Start, 'UTC')) AS Started,
    if(Over, fromUnixTimestamp64Nano(E.2, 'UTC'), NULL) AS Ended,
    if(Over AND Start != 9223372036854775807, greatest(E.2 - Start, 0) / 1e6, NULL) AS DurationMs,
    greatest(Tries, 1) AS Attempts,
    if(Over, E.4, '') AS ErrorType,
    if(Over, E.5, '') AS ErrorMessage,
    PS.2 AS ParentStepId,
    CR.2 AS ChildRunId
FROM
(
    SELECT
        RunId,
        StepId,
        min(Name) AS N,
        min(Kind) AS K,
        min(ParentStepId) AS PS,
        min(ChildRunId) AS CR,
        min(Began) AS Start,
        max(Attempt) AS Tries,
        max(Ending) AS E,
        max(Slept) > max(Woke) AS Sleeping,
        E.3 != '' AND E.1 >= Tries AS Over
    FROM stagelight_step_states
    GROUP BY RunId, StepId
)
