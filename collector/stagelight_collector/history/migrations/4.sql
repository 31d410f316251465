-- Parts of spans. What is inserted becomes a compact part, however many spans it has: a wide one has 130 files, whose making took a third
-- of an insert. 100,000 spans are 44 MB, and 114 MB where their resource has twenty attributes. And more parts are merged at a time:
-- each merge makes the indexes again, so what is merged less often costs half, and there are hardly more parts to be read.
ALTER TABLE otel_traces MODIFY SETTING min_bytes_for_wide_part = 134217728, merge_selector_base = 10
