--- What a tenant's visitor sees before Modoboa answers: first paint, title, favicon, config.json, and when it is down.
local cjson = require("cjson.safe")

local certificates = require("edge.certificates")
local guard = require("edge.guard")
local hosts = require("edge.hosts")
local pages = require("edge.pages")
local upstream = require("edge.upstream")

local _M = {}

local root
local files = {}
local FRESH_FOR = 1

--- `frontend` is the folder of Modoboa's index.html and config.json.
function _M.setup(frontend)
  root = frontend
end

--- A small file of the frontend, read again at most once a second; nil when it cannot be read.
local function file(name)
  local known = files[name]
  if known and ngx.now() < known.until_time then
    return known.text
  end
  local handle = io.open(root .. "/" .. name, "r")
  local text = handle and handle:read("*a")
  if handle then
    handle:close()
  end
  files[name] = { text = text, until_time = ngx.now() + FRESH_FOR }
  return text
end

--- The record of the host that the gate let in; an empty one behind an error page.
local function record()
  local entry = hosts.find(ngx.var.host)
  return entry and (entry.record or certificates.record(entry)) or { theme = "", domains = "" }
end

local function theme_of(host)
  return host.theme ~= "" and cjson.decode(host.theme) or {}
end

--- The name that visitors know: the only domain of the host, else the hostname; "" on the primary one.
local function title_of(host)
  local only = host.domains:match("^%s*(%S+)%s*$")
  return only or (host.primary and "" or ngx.var.host)
end

local function send(content_type, text, cache)
  ngx.header["Content-Type"] = content_type
  ngx.header["Cache-Control"] = cache
  ngx.header["Content-Length"] = #text
  ngx.print(text)
end

local function only_reads()
  local method = ngx.req.get_method()
  if method ~= "GET" and method ~= "HEAD" then
    return ngx.exit(405)
  end
end

--- Modoboa's index.html, on a tenant's host with its title, favicon and colours from the first paint on.
function _M.index()
  only_reads()
  local text, host = file("index.html"), record()
  if not text then
    return ngx.exit(503)
  end
  if host.primary then
    return send("text/html; charset=utf-8", pages.with_deep_links(text), "no-store")
  end
  local page = pages.branded(text, title_of(host), theme_of(host))
  return send("text/html; charset=utf-8", page, "no-store")
end

local RELATIVE = {
  API_BASE_URL = "/api/v2",
  API_DOC_URL = "/api/schema-v2/swagger/",
  OAUTH_AUTHORITY_URL = "/api/o",
  OAUTH_REDIRECT_URI = "/login/logged",
  OAUTH_POST_REDIRECT_URI = "",
}

--- Modoboa's config.json with relative URLs, so that every host talks to itself; a tenant's with its title and logos.
function _M.config()
  only_reads()
  local text, host = file("config.json"), record()
  local config = text and cjson.decode(text)
  if type(config) ~= "table" then
    return ngx.exit(503)
  end
  for name, value in pairs(RELATIVE) do
    config[name] = value
  end
  if not host.primary then
    local theme = theme_of(host)
    config.HTML_PAGE_TITLE = title_of(host)
    config.MENU_LOGO_PATH = theme.theme_menu_logo_url or config.MENU_LOGO_PATH
    config.CREATION_FORM_LOGO_PATH = theme.theme_creation_form_logo_url
      or config.CREATION_FORM_LOGO_PATH
  end
  return send("application/json", cjson.encode(config), "no-store")
end

--- A favicon in the tenant's colour, or Modoboa's own.
function _M.favicon()
  only_reads()
  local host = record()
  local colour = theme_of(host).theme_primary_color
  if host.primary or not colour then
    local icon = file("favicon.ico")
    return icon and send("image/x-icon", icon, "max-age=3600") or ngx.exit(404)
  end
  return send("image/svg+xml", pages.favicon(title_of(host), colour), "max-age=300")
end

--- Modoboa does not answer: say so in the tenant's colours, with 503 and Retry-After.
function _M.down()
  upstream.silent("Modoboa")
  local host = record()
  ngx.status = 503
  ngx.header["Retry-After"] = "10"
  local title = title_of(host)
  local name = title ~= "" and title or ngx.var.host
  return send("text/html; charset=utf-8", pages.down(name, theme_of(host)), "no-store")
end

--- The same for programs.
function _M.down_json()
  upstream.silent("Modoboa")
  ngx.status = 503
  ngx.header["Retry-After"] = "10"
  return send("application/json", "{\"detail\":\"Modoboa does not answer, try again\"}", "no-store")
end

--- A logo that is not in the cache while the control plane does not answer.
function _M.no_logo()
  upstream.silent("the control plane")
  ngx.status = 503
  ngx.header["Retry-After"] = "10"
  return send("text/plain", "", "no-store")
end

guard.watch_answers("branding", _M, {
  "index",
  "config",
  "favicon",
  "down",
  "down_json",
  "no_logo",
})

return _M
