--- Publishes that are refused now: which host and why; told in the log once, in heartbeats and metrics.
local journal = require("edge.journal")

local state = ngx.shared.edge_state

local _M = {}

local MOST_TOLD = 100
local why = {}

--- Remember why a host's publish is refused; nil when it no longer is.
function _M.note(name, reason)
  if why[name] ~= reason then
    why[name] = reason
    if reason then
      journal.write(ngx.WARN, "publish of ", name, " refused: ", reason)
    end
  end
end

--- Take over from another worker: what it reported is refused until a new look says otherwise.
function _M.recall()
  for name in (state:get("refused") or ""):gmatch("%S+") do
    why[name] = why[name] or "an earlier look refused it"
  end
end

--- Up to `most` of the hosts.
function _M.names(most)
  local names = {}
  for name in pairs(why) do
    if #names == most then
      break
    end
    names[#names + 1] = name
  end
  return names
end

--- Put up to a hundred names, in order, where heartbeats and metrics find them; whether that is news.
function _M.report()
  local names = _M.names(MOST_TOLD)
  table.sort(names)
  local text = table.concat(names, " ")
  local is_news = text ~= (state:get("refused") or "")
  state:set("refused", text)
  return is_news
end

return _M
