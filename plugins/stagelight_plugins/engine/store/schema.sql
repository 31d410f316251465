-- The truth: that an instance exists is its row here, and what it did is its rows of `journal`.
CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, value) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS workflows (
  key INTEGER PRIMARY KEY,
  id TEXT NOT NULL,
  name TEXT NOT NULL UNIQUE,
  created INTEGER NOT NULL,
  plane TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS versions (
  key INTEGER PRIMARY KEY,
  workflow INTEGER NOT NULL,
  id TEXT NOT NULL,
  class_name TEXT NOT NULL,
  created INTEGER NOT NULL,
  fingerprint TEXT NOT NULL,
  source TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS instances (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,  -- the order of creation, never used again
  workflow INTEGER NOT NULL,
  id TEXT NOT NULL,
  version INTEGER NOT NULL,
  status TEXT NOT NULL,
  chef INTEGER NOT NULL,         -- the SousChef that answers for it; -1 until it is registered
  rank INTEGER,                  -- the place in the queue; woken ones have negative ranks and go first
  alarm INTEGER,                 -- when somebody must look at it: to register, wake, or forget it
  created INTEGER NOT NULL,
  modified INTEGER NOT NULL,
  started INTEGER NOT NULL DEFAULT 0,
  ended INTEGER NOT NULL DEFAULT 0,
  retention INTEGER NOT NULL,
  parent INTEGER NOT NULL DEFAULT 0,
  origin TEXT,                   -- the trigger, JSON; NULL for an ordinary one
  params TEXT,
  output TEXT,
  notes TEXT                     -- error, rollback, difference: JSON
);
CREATE UNIQUE INDEX IF NOT EXISTS instances_id ON instances (workflow, id);
CREATE INDEX IF NOT EXISTS instances_status ON instances (workflow, status, seq);
CREATE INDEX IF NOT EXISTS instances_queue ON instances (workflow, chef, rank) WHERE rank IS NOT NULL;
CREATE INDEX IF NOT EXISTS instances_alarm ON instances (alarm) WHERE alarm IS NOT NULL;

CREATE TABLE IF NOT EXISTS journal (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,  -- the cursor of those who publish, and of subscriptions
  instance INTEGER NOT NULL,
  body TEXT NOT NULL                      -- the records of one transaction, a JSON list
);
CREATE INDEX IF NOT EXISTS journal_instance ON journal (instance, seq);
