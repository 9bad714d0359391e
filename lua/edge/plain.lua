--- Port 80: ACME challenges for every known host (RFC 8555 §8.3), a redirect for live ones, else 404.
local early = require("edge.early")
local guard = require("edge.guard")
local hosts = require("edge.hosts")
local journal = require("edge.journal")
local metrics = require("edge.metrics")
local reading = require("edge.reading")
local redis = require("edge.redis")

local _M = {}

local port_suffix
local LONGEST_ANSWER = 512

--- `public_port` is the port of https URLs that browsers see.
function _M.setup(public_port)
  port_suffix = public_port == 443 and "" or ":" .. public_port
end

local function read_method()
  local method = ngx.req.get_method()
  return method == "GET" or method == "HEAD"
end

--- Whether Redis knows the host as anything but deleted; asked only while the index is not complete.
local function known_early(name)
  if hosts.complete() or not early.may_ask() then
    return false
  end
  local answers = reading.ask({ { "hget", "vh:host:" .. name, "state" } })
  local state = answers and redis.text(answers[1])
  return state ~= nil and state ~= "deleted"
end

local function known_name()
  local entry, canonical = hosts.find(ngx.var.host)
  if entry then
    return hosts.describe(entry) ~= "deleted" and entry.name or nil
  end
  return canonical and known_early(canonical) and canonical or nil
end

local function not_found(result)
  metrics.count("edge_challenges_total{result=\"" .. result .. "\"}")
  return ngx.exit(404)
end

--- Answer with the key authorization that was published for this very hostname.
function _M.challenge()
  local token = ngx.var.uri:match("^/%.well%-known/acme%-challenge/([%w_-]+)$")
  if not token or #token < 16 or #token > 128 or not read_method() then
    return not_found("malformed")
  end
  local name = known_name()
  if not name then
    return not_found("unknown_host")
  end
  local key = "vh:challenge:" .. name .. ":" .. token
  local answers, err = reading.ask({ { "get", key } })
  if not answers then
    journal.change(ngx.ERR, "challenges cannot be read", err)
    return ngx.exit(503)
  end
  journal.change(ngx.ERR, "challenges cannot be read", nil)
  local text = redis.text(answers[1])
  if not text or #text > LONGEST_ANSWER or text:find("[^%w._-]") then
    return not_found("absent")
  end
  metrics.count("edge_challenges_total{result=\"answered\"}")
  ngx.header["Content-Type"] = "text/plain"
  ngx.header["Cache-Control"] = "no-store"
  ngx.header["Content-Length"] = #text
  ngx.print(text)
end

--- 308 to the same path over https for a live host; the name in it is ours, not the client's.
function _M.redirect()
  local entry = hosts.find(ngx.var.host)
  if not entry or not entry.active then
    return ngx.exit(404)
  end
  return ngx.redirect("https://" .. entry.name .. port_suffix .. ngx.var.request_uri, 308)
end

guard.watch_answers("plain", _M, { "challenge", "redirect" })

return _M
