--- The syncer: one worker follows the feed into shared memory; what it has applied is what heartbeats say.
local feed = require("edge.feed")
local heartbeat = require("edge.heartbeat")
local held = require("edge.held")
local index = require("edge.index")
local journal = require("edge.journal")
local metrics = require("edge.metrics")
local progress = require("edge.progress")
local published = require("edge.published")
local redis = require("edge.redis")
local refusals = require("edge.refusals")

local state = ngx.shared.edge_state

local _M = {}

local WARM_AT_ONCE = 64
local RETRY_EVERY = 1
local NO_ROOM = "there is no room for it in shared memory"
local next_retry = 0

--- What the index has now: epoch (nil at first), applied revision, number of hosts.
local function mine()
  return {
    epoch = progress.get("epoch"),
    applied = progress.get("applied") or 0,
    hosts = progress.get("hosts") or 0,
  }
end

--- Whether a word is news; while following, a host's revision never goes back.
local function is_news(name, word, adopting)
  local before = index.get(name)
  if not before or adopting then
    return before ~= word
  end
  return tonumber(word:match("%d+")) > tonumber(before:match("%d+"))
end

local function hold(name, host)
  local ok = held.put(name, host)
  if not ok then
    held.drop(name) -- (1) what was there is of an older revision
    metrics.count("edge_memory_full_total")
  end
end

--- Hold what was read of a host, or forget it.
local function keep(name, host, word)
  if word:sub(1, 1) == "X" then
    held.drop(name)
  elseif host.leaf or word:sub(1, 1) ~= "A" then
    hold(name, host)
  end
end

--- Apply one host that was read in full: first what is held of it, then the index, so that nobody sees the
--- new revision before its certificate.
local function apply_full(name, answers_host, answers_certificate, adopting)
  local good = held.get(name)
  local host, word, why = published.judge(name, answers_host, answers_certificate, good)
  published.release(host)
  if not host then
    return refusals.note(name, word)
  end
  local news = is_news(name, word, adopting)
  local again = why or (good and good.asof == host.asof and good.sha256 ~= host.sha256)
  if news or again or not held.has(name) then
    keep(name, host, word)
  end
  local fits = true
  if news then
    fits = index.set(name, word)
    journal.about(name, "revision ", word:match("%d+"), " applied")
  end
  refusals.note(name, why or (not fits and NO_ROOM) or nil)
end

--- Apply one host of which only state and generation were read.
local function apply_thin(change, answer, adopting)
  local fields = type(answer) == "table" and answer or {}
  local word = published.word(change.rev, redis.text(fields[1]), redis.text(fields[2]) or "0")
  local why = not word and "its record cannot be read" or nil
  if word and is_news(change.name, word, adopting) and not index.set(change.name, word) then
    why = NO_ROOM
  end
  refusals.note(change.name, why)
end

--- Read and apply one batch; hosts that are held, and all of a small batch, in full.
local function apply(red, changes, adopting)
  local commands, full = {}, {}
  for _, change in ipairs(changes) do
    full[change] = #changes <= WARM_AT_ONCE or held.has(change.name)
    local host, certificate = published.commands(change.name)
    if full[change] then
      commands[#commands + 1], commands[#commands + 2] = host, certificate
    else
      commands[#commands + 1] = { "hmget", "vh:host:" .. change.name, "state", "generation" }
    end
  end
  local answers, err = redis.pipeline(red, commands)
  if not answers then
    return nil, err
  end
  local position = 1
  for _, change in ipairs(changes) do
    if full[change] then
      apply_full(change.name, answers[position], answers[position + 1], adopting)
    else
      apply_thin(change, answers[position], adopting)
    end
    position = position + (full[change] and 2 or 1)
  end
  return true
end

--- Apply everything above `from`, batch by batch; `each` sees every change. The last revision, or nil, error.
--- Only behind a full batch is there more to read: what comes after has a message of its own.
local function apply_from(red, changes, from, adopting, each)
  while #changes > 0 do
    local ok, err = apply(red, changes, adopting)
    if not ok then
      return nil, err
    end
    for _, change in ipairs(changes) do
      each(change)
    end
    from = changes[#changes].rev
    if #changes < feed.BATCH then
      break
    end
    local answers
    answers, err = redis.pipeline(red, { feed.changes_after(from) })
    changes = answers and feed.changes(answers[1])
    if not changes then
      return nil, err or "the feed cannot be read"
    end
    _M.renew()
  end
  return from
end

local function drop_absent(seen)
  for _, name in ipairs(index.names()) do
    if not seen[name] then
      index.delete(name)
      held.drop(name)
      refusals.note(name, nil)
    end
  end
end

--- Make the index equal a complete data set: take every host's revision as it is, drop who is absent.
local function compare(red, look)
  local answers, err = redis.pipeline(red, { feed.changes_after(0) })
  local changes = answers and feed.changes(answers[1])
  if not changes or #changes == 0 then
    return nil, err or "the feed is empty"
  end
  local seen = {}
  local last
  last, err = apply_from(red, changes, 0, true, function(change)
    seen[change.name] = true
  end)
  if not last then
    return nil, err
  end
  drop_absent(seen)
  index.report(true)
  progress.set("epoch", look.epoch)
  progress.set("applied", math.max(last, look.floor))
  progress.set("complete", true)
  return true
end

local function follow(red, look, have)
  local last, err = apply_from(red, look.changes, have.applied, false, function() end)
  if not last then
    return nil, err
  end
  progress.set("applied", last)
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
    for position, name in ipairs(refusals.names(WARM_AT_ONCE)) do
      again[position] = { name = name, rev = 0 }
    end
  end
  if #again == 0 then
    return true
  end
  next_retry = ngx.now() + RETRY_EVERY
  return apply(red, again, false)
end

--- One look at Redis and everything that follows from it; nil and the error when Redis failed us.
local function sync(red)
  local have = mine()
  local look, err = feed.look(red, have.applied)
  if not look then
    return nil, err
  end
  local verdict, alarm = feed.judge(look, have)
  state:set("alarm", alarm)
  journal.change(ngx.ERR, "what Redis says is not believed", alarm)
  local ok = true
  if verdict == "follow" then
    ok, err = follow(red, look, have)
  elseif verdict == "compare" then
    ok, err = compare(red, look)
  end
  if ok and verdict ~= "wait" then
    ok, err = retry(red)
  end
  if not ok then
    return nil, err
  end
  metrics.count("edge_syncs_total")
  state:set("min_not_after", look.first_expiry and look.first_expiry.rev)
  state:set("last_sync", ngx.now())
  local told = refusals.report()
  local now = mine()
  if told or now.applied ~= have.applied or now.epoch ~= have.epoch then
    heartbeat.nudge()
  end
  return true
end

--- Keep the lease for as long as two polls take.
function _M.renew()
  state:set("syncer", ngx.worker.pid(), 5)
end

_M.sync = sync

return _M
