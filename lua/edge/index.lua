--- hostname → index word in shared memory: state, revision and generation of every host there is.
--- What finds no room in the index's own memory stands in the certificates': a setting too small refuses nobody.
local journal = require("edge.journal")
local metrics = require("edge.metrics")
local progress = require("edge.progress")

local index = ngx.shared.edge_index
local spill = ngx.shared.edge_held

local _M = {}

local left_out = false

local function is_live(word)
  return word and word:sub(1, 1) ~= "X" or false
end

--- Keep the number of hosts that are no tombstones.
local function recount(before, after)
  if is_live(before) ~= is_live(after) then
    progress.add("hosts", is_live(after) and 1 or -1)
  end
end

--- The word of a canonical hostname, or nil.
function _M.get(name)
  return index:get(name) or spill:get("w|" .. name)
end

--- How many hostnames stand in the certificates' memory, for want of room.
function _M.spilled()
  return progress.get("spilled") or 0
end

--- Write with `method` (`safe_add`, `safe_set`: nothing is driven out) where there is room; nil and why without.
local function write(method, name, word)
  local ok, err = index[method](index, name, word)
  if ok or err ~= "no memory" then
    return ok, err
  end
  ok, err = spill[method](spill, "w|" .. name, word)
  if ok then
    progress.add("spilled", 1)
  else
    metrics.count("edge_memory_full_total")
  end
  return ok, err
end

--- Put a first word where none is; true when it was put, else why not (`exists`, `no memory`).
function _M.add(name, word)
  if _M.get(name) then
    return nil, "exists"
  end
  local ok, err = write("safe_add", name, word)
  if ok then
    recount(nil, word)
  end
  return ok, err
end

--- Say in the log, once, when there is too little memory; `anew` forgets the hosts that were left out.
function _M.report(anew)
  local text
  left_out = left_out and not anew
  if left_out then
    text = "full, and that for certificates too: a host is not served; raise EDGE_INDEX_MEMORY"
  elseif _M.spilled() > 0 then
    text = "full: hosts are kept beside the certificates; raise EDGE_INDEX_MEMORY"
  end
  journal.change(ngx.ALERT, "shared memory for the index", text)
end

local function replace(name, word)
  local before = _M.get(name)
  local ok
  if spill:get("w|" .. name) then
    ok = spill:safe_set("w|" .. name, word)
  else
    ok = write("safe_set", name, word)
  end
  recount(before, ok and word)
  return ok
end

--- Put a word over what there is; false when there is no room for it. For the syncer alone.
function _M.set(name, word)
  local ok, err = _M.add(name, word)
  if err == "exists" then
    ok = replace(name, word)
  end
  left_out = left_out or not ok
  if left_out or _M.spilled() > 0 then
    _M.report()
  end
  return ok and true or false
end

--- Forget a hostname.
function _M.delete(name)
  recount(_M.get(name), nil)
  index:delete(name)
  if spill:get("w|" .. name) then
    spill:delete("w|" .. name)
    progress.add("spilled", -1)
  end
end

--- Hostnames beside the certificates.
local function spilled_names()
  local names = {}
  for _, key in ipairs(spill:get_keys(0)) do
    names[#names + 1] = key:match("^w|(.*)$")
  end
  return names
end

--- Every hostname there is. Holds the lock of shared memory meanwhile (20 ms for 100,000): for rare moments.
function _M.names()
  local names = _M.spilled() > 0 and spilled_names() or {}
  for _, name in ipairs(index:get_keys(0)) do
    names[#names + 1] = name ~= progress.MARK and name or nil
  end
  return names
end

--- In the master, when one memory is new and the other is not: count what there is.
function _M.recount()
  progress.set("spilled", #spilled_names())
  progress.set("hosts", 0)
  for _, name in ipairs(_M.names()) do
    recount(nil, _M.get(name))
  end
end

return _M
