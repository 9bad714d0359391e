--- How far this edge has come with the data set; belongs to the two memories it is about, and begins anew with them.
local state = ngx.shared.edge_state

local _M = { MARK = "#" }

local id = ""

--- What tells one memory from its successor: nginx gives a zone of another size a fresh, empty one, to new workers
--- only. In the index it reads as a tombstone to a client that asks for a host of that name.
local function mark(zone)
  zone:safe_add(_M.MARK, string.format("X0|%d", ngx.now() * 1000))
  return zone:get(_M.MARK) or ""
end

--- In the master: learn which memories there are; true when there is no progress of theirs yet.
function _M.setup()
  id = "|" .. mark(ngx.shared.edge_index) .. "|" .. mark(ngx.shared.edge_held)
  return state:safe_add("begun" .. id, true) == true
end

--- `epoch` (nil at first), `applied` revision, `complete`, or a count: `hosts`, `spilled`, `certificates`.
function _M.get(name)
  return state:get(name .. id)
end

--- Put down one of them.
function _M.set(name, value)
  return state:set(name .. id, value)
end

--- Add to a count.
function _M.add(name, number)
  return state:incr(name .. id, number, 0)
end

return _M
