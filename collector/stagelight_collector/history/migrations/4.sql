-- Parts of spans. What is inserted becomes a compact part, however many spans it has: a wide one has 130 files, whose making took a third of
-- an insert. And more parts are merged at a time: each merge makes the indexes again, so spans that are merged less often cost
-- half; the parts that are there to be read are hardly more.
ALTER TABLE otel_traces MODIFY SETTING min_bytes_for_wide_part = 67108864, merge_selector_base = 10
