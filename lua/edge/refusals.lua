--- Publishes that are refused now: which host and why; told in the log once, in heartbeats and metrics.
local journal = require("edge.journal")

local state = ngx.shared.edge_state

local _M = {}

local MOST_KEPT, MOST_TOLD = 2000, 100
local why, count = {}, 0
local turns = {}
local is_told = false

--- Remember why a host's publish is refused; nil when it no longer is.
function _M.note(name, reason)
  if why[name] == reason then
    return
  end
  count = count + (reason and 1 or 0) - (why[name] and 1 or 0)
  why[name], is_told = reason, false
  if reason then
    journal.write(ngx.WARN, "publish of ", name, " refused: ", reason)
  end
end

--- Forget who is not among `names`, of which a complete data set consists.
function _M.retain(names)
  for name in pairs(why) do
    if not names[name] then
      _M.note(name, nil)
    end
  end
end

--- Take over from another worker: what it reported is refused until a new look says otherwise.
function _M.recall()
  for name in (state:get("refused") or ""):gmatch("%S+") do
    if not why[name] then
      why[name], count = "an earlier look refused it", count + 1
    end
  end
  is_told = false
end

--- The next hosts to be asked for again, at most `most`: everybody has a turn before anybody has a second one.
function _M.next(most)
  local names = {}
  if #turns == 0 then
    for name in pairs(why) do
      turns[#turns + 1] = name
    end
  end
  while #names < most and #turns > 0 do
    local name = table.remove(turns)
    names[#names + 1] = why[name] and name or nil
  end
  return names
end

--- Put the names, in order, and how many they are where the next syncer, heartbeats and metrics find them; whether that
--- is news.
function _M.report()
  if is_told then
    return false
  end
  local names = {}
  for name in pairs(why) do
    names[#names + 1] = name
  end
  table.sort(names)
  local text = table.concat(names, " ", 1, math.min(#names, MOST_KEPT))
  state:set("refused", text)
  state:set("refusing", count)
  is_told = true
  return true
end

--- Up to a hundred of the names, in order and in one text, and how many there are in all.
function _M.told()
  local names = {}
  for name in (state:get("refused") or ""):gmatch("%S+") do
    names[#names + 1] = name
  end
  return table.concat(names, " ", 1, math.min(#names, MOST_TOLD)), state:get("refusing") or 0
end

return _M
