-- Runs that went on after an end. A run that has an end and is not in here is over: a list of running ones need not look at it.
CREATE TABLE IF NOT EXISTS stagelight_run_resumptions
(
    Period UInt32 CODEC(Delta(4), ZSTD(1)),
    RunId String CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree
ORDER BY (Period, RunId)
SETTINGS index_granularity = 1024,
    non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
;
CREATE MATERIALIZED VIEW IF NOT EXISTS stagelight_run_resumptions_mv TO stagelight_run_resumptions AS
SELECT toUInt32(intDiv(toUnixTimestamp64Nano(e.Time), 10000000000)) AS Period, e.RunId AS RunId
FROM stagelight_events AS e
WHERE e.Type = 'run_resumed'
GROUP BY Period, RunId
;
INSERT INTO stagelight_run_resumptions
SELECT toUInt32(intDiv(toUnixTimestamp64Nano(e.Time), 10000000000)) AS Period, e.RunId AS RunId
FROM stagelight_events AS e
WHERE e.Type = 'run_resumed'
GROUP BY Period, RunId
