--- The syncer: one worker follows the feed into shared memory; what it has applied is what heartbeats say.
local applying = require("edge.applying")
local feed = require("edge.feed")
local heartbeat = require("edge.heartbeat")
local held = require("edge.held")
local index = require("edge.index")
local journal = require("edge.journal")
local lease = require("edge.lease")
local metrics = require("edge.metrics")
local progress = require("edge.progress")
local published = require("edge.published")
local refusals = require("edge.refusals")

local state = ngx.shared.edge_state

local _M = {}

local WARM_AT_ONCE, FULL_AT_ONCE = 64, 20
local RETRY_EVERY = 1
local next_retry = 0
local latest -- who was published last, and is published again soon: a certificate follows its record

--- What the index has now: epoch (nil at first), applied revision, number of hosts.
local function mine()
  return {
    epoch = progress.get("epoch"),
    applied = progress.get("applied") or 0,
    hosts = progress.get("hosts") or 0,
  }
end

--- Go through all changes from the first batch on: `each(batch)` applies one. The highest revision, or nil and the
--- error. Only behind a full batch is there more to read: what comes after has a message of its own.
local function walk(red, changes, each)
  local highest = 0
  while #changes > 0 do
    local ok, err = each(changes)
    if ok then
      ok, err = lease.renew()
    end
    if not ok then
      return nil, err
    end
    for _, change in ipairs(changes) do
      highest = math.max(highest, change.rev or 0)
    end
    if #changes < feed.BATCH then
      break
    end
    changes, err = feed.more(red, changes.last)
    if not changes then
      return nil, err
    end
  end
  return highest
end

--- Read in full, a few at a time, what is held and has changed: each is up to 140 µs of checking.
local function catch_up(red, changes, adopting)
  for first = 1, #changes, FULL_AT_ONCE do
    local some = { unpack(changes, first, math.min(first + FULL_AT_ONCE - 1, #changes)) }
    local ok, err = applying.full(red, some, adopting)
    if ok then
      ok, err = lease.renew()
    end
    if not ok then
      return nil, err
    end
  end
  return true
end

--- Apply many changes: everybody's state and generation, `done()`, and then the certificates of those who are held.
local function apply_many(red, changes, adopting, each, done)
  local later = {}
  local highest, err = walk(red, changes, function(batch)
    each(batch)
    return applying.thin(red, batch, adopting, later)
  end)
  if not highest then
    return nil, err
  end
  done()
  local ok
  ok, err = catch_up(red, later, adopting)
  return ok and highest, err
end

local function drop_absent(seen)
  for _, name in ipairs(index.names()) do
    if not seen[name] then
      index.delete(name)
      held.drop(name)
    end
  end
  refusals.retain(seen) -- (1) also of those whose record was never good enough for the index
end

--- Tell who is refused now; before a revision is applied, so that no heartbeat has the one without the other.
local function tell()
  if refusals.report() then
    heartbeat.nudge()
  end
end

--- Make the index equal a complete data set: take every host's revision as it is, drop who is absent.
local function compare(red, look)
  local changes, err = feed.more(red, 0)
  if not changes or #changes == 0 then
    return nil, err or "the feed is empty"
  end
  local seen = {}
  local last
  last, err = apply_many(red, changes, true, function(batch)
    for _, change in ipairs(batch) do
      seen[change.name] = true
    end
  end, function()
    drop_absent(seen)
  end)
  if not last then
    return nil, err
  end
  index.report(true)
  tell()
  progress.set("epoch", look.epoch)
  progress.set("applied", math.max(last, look.floor))
  progress.set("complete", true)
  return true
end

local function nothing() end

local function follow(red, look, have)
  local last, err
  if #look.changes <= WARM_AT_ONCE then
    last, err = walk(red, look.changes, function(batch)
      return applying.full(red, batch, false, look.along)
    end)
  else
    last, err = apply_many(red, look.changes, false, nothing, nothing)
  end
  if not last then
    return nil, err
  end
  latest = #look.changes > 0 and look.changes[#look.changes].name or latest
  tell()
  progress.set("applied", math.max(last, have.applied))
  if not have.epoch then
    progress.set("epoch", look.epoch)
  end
  if look.complete_epoch == look.epoch then
    progress.set("complete", true)
  end
  return true
end

--- Ask again for hosts whose publish was refused: they heal when their value does.
local function retry(red)
  local again = {}
  if ngx.now() >= next_retry then
    for position, name in ipairs(refusals.next(WARM_AT_ONCE)) do
      again[position] = { name = name }
    end
  end
  if #again == 0 then
    return true
  end
  next_retry = ngx.now() + RETRY_EVERY
  return applying.full(red, again, false)
end

--- What a verdict asks for, and those that were refused once more; nil and the error when Redis failed us.
local function act(red, verdict, look, have)
  local ok, err
  if verdict == "wait" then
    return true
  elseif verdict == "follow" then
    ok, err = follow(red, look, have)
  else
    ok, err = compare(red, look)
  end
  if ok then
    ok, err = retry(red)
  end
  if ok then
    state:set("published_ends", look.first_expiry and look.first_expiry.rev)
    progress.set("floor", look.floor)
  end
  return ok, err
end

--- One look at Redis and everything that follows from it; nil and the error when Redis failed us. With news, who was
--- published last is read along.
function _M.sync(red, has_news)
  local have = mine()
  local along = has_news and latest and { latest, published.commands(latest) } or nil
  local look, err = feed.look(red, have.applied, along)
  if not look then
    return nil, err
  end
  local verdict, alarm = feed.judge(look, have)
  state:set("alarm", alarm)
  journal.change(ngx.ERR, "what Redis says is not believed", alarm)
  local ok
  ok, err = act(red, verdict, look, have)
  if not ok then
    return nil, err
  end
  metrics.count("edge_syncs_total")
  state:set("last_sync", ngx.now())
  held.report()
  tell()
  local now = mine()
  if now.applied ~= have.applied or now.epoch ~= have.epoch then
    heartbeat.nudge()
  end
  return true
end

return _M
