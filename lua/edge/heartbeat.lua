--- The heartbeat: what this edge has applied, written at once after each change and every five seconds.
local semaphore = require("ngx.semaphore")

local journal = require("edge.journal")
local progress = require("edge.progress")
local redis = require("edge.redis")
local refusals = require("edge.refusals")
local sealing = require("edge.sealing")
local version = require("edge.version")

local state = ngx.shared.edge_state

local _M = {}

local EVERY = 5
local EXPIRES = 30
local target, timeout_ms, edge_id
local due

--- `redis_target` is the primary; `id` names this edge.
function _M.setup(redis_target, redis_timeout_ms, id)
  target, timeout_ms, edge_id = redis_target, redis_timeout_ms, id
end

--- Beat now.
function _M.nudge()
  if due and due:count() < 1 then
    due:post(1)
  end
end

local function write(red)
  sealing.refresh()
  local key = "vh:edge:" .. edge_id
  local last_sync = state:get("last_sync")
  local refused, refusing = refusals.told()
  return redis.pipeline(red, {
    {
      "hset",
      key,
      "rev",
      string.format("%d", progress.get("applied") or 0),
      "epoch",
      progress.get("epoch") or "",
      "hosts",
      string.format("%d", progress.get("hosts") or 0),
      "certificates",
      string.format("%d", progress.get("certificates") or 0),
      "refused",
      refused,
      "refusing",
      string.format("%d", refusing),
      "kids",
      table.concat(sealing.kids, " "),
      "last_sync",
      last_sync and string.format("%.3f", last_sync) or "",
      "version",
      version,
    },
    { "expire", key, EXPIRES },
  })
end

local function beat_once()
  local red, err = redis.connect(target, timeout_ms)
  if not red then
    return nil, err
  end
  local answers
  answers, err = write(red)
  if not answers or type(answers[1]) == "table" then
    red:close()
    return nil, err or answers[1][2]
  end
  redis.keep(red)
  return true
end

--- The syncer's second thread: beat for as long as it lives.
function _M.beat()
  due = semaphore.new(1)
  while not ngx.worker.exiting() do
    due:wait(EVERY)
    local ok, err = beat_once()
    journal.change(ngx.WARN, "heartbeat", not ok and tostring(err) or nil)
  end
end

return _M
