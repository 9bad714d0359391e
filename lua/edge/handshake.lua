--- Client hello: refuse who is not live. Certificate: set the pair. Neither yields for a host that is warm.
local clienthello = require("ngx.ssl.clienthello")
local ffi = require("ffi")
local ngx_ssl = require("ngx.ssl")

local certificates = require("edge.certificates")
local clients = require("edge.clients")
local connection = require("edge.connection")
local early = require("edge.early")
local guard = require("edge.guard")
local hosts = require("edge.hosts")
local journal = require("edge.journal")
local metrics = require("edge.metrics")

local C = ffi.C
local count = metrics.count
local exit = ngx.exit
local client_address = ngx_ssl.raw_client_addr
local server_name = clienthello.get_client_hello_server_name
local ssl_server_name = ngx_ssl.server_name

ffi.cdef([[
int SSL_set_session_id_context(void *ssl, const char *context, unsigned int length);
int SSL_set_num_tickets(void *ssl, size_t number);
int SSL_client_hello_get0_ext(void *ssl, unsigned int type, const unsigned char **out, size_t *length);
size_t SSL_client_hello_get0_session_id(void *ssl, const unsigned char **out);
]])

local _M = {}

local SERVED = "edge_handshakes_total{result=\"served\"}"
local REFUSED = {
  limited = "edge_handshakes_total{result=\"limited\"}",
  no_name = "edge_handshakes_total{result=\"no_name\"}",
  unknown = "edge_handshakes_total{result=\"unknown\"}",
  not_active = "edge_handshakes_total{result=\"not_active\"}",
  no_certificate = "edge_handshakes_total{result=\"no_certificate\"}",
}
local PRE_SHARED_KEY, SUPPORTED_VERSIONS = 41, 43
local ext_start = ffi.new("const unsigned char *[1]")
local ext_size = ffi.new("size_t[1]")
local tickets = 1

local function refuse(reason, name)
  count(REFUSED[reason])
  if name then
    journal.about(name, "handshake refused: ", reason)
  end
  return exit(ngx.ERROR)
end

--- Remember who was named, and bind resumption to this host and generation: another's session becomes a full handshake.
local function bind(ssl, id, context)
  connection.name(ssl, id)
  C.SSL_set_session_id_context(ssl, context, #context)
  C.SSL_set_num_tickets(ssl, tickets)
end

--- The name is not in the index, which is not complete yet: the certificate hook will look further.
local function postpone(canonical)
  local context = ngx.sha1_bin(canonical .. math.random() .. ngx.now())
  bind(connection.ssl(), connection.id(canonical), context)
end

--- Whether the client offers something to resume: then no certificate may be needed.
local function offers_resumption(ssl)
  if C.SSL_client_hello_get0_ext(ssl, PRE_SHARED_KEY, ext_start, ext_size) == 1 then
    return true
  end
  if C.SSL_client_hello_get0_ext(ssl, SUPPORTED_VERSIONS, ext_start, ext_size) == 1 then
    return false -- (1) TLS 1.3 clients fill the old session id too (RFC 8446 §4.1.2)
  end
  return C.SSL_client_hello_get0_session_id(ssl, ext_start) > 0
end

local function served(entry, pair)
  count(SERVED)
  if journal.watching then
    local name, rev = entry.name, entry.rev
    journal.about(name, "handshake served: revision ", rev, ", certificate ", pair.sha256)
  end
end

--- A warm host's full handshake gets its pair right here, and the certificate hook is left out: 15 µs less.
local function serve_now(ssl, entry)
  if certificates.use_now(ssl, entry.pair) then
    served(entry, entry.pair)
  end
end

--- The client-hello hook (runs on resumed sessions too; must not yield).
local function hello()
  local sent = server_name()
  if not sent then
    return refuse("no_name")
  end
  local entry, canonical = hosts.find(sent)
  if not entry then
    if canonical and not hosts.complete() then
      return postpone(canonical)
    end
    return refuse("unknown")
  end
  if not entry.active then
    return refuse("not_active", entry.name)
  end
  local ssl = connection.ssl()
  local warm = entry.pair and not offers_resumption(ssl)
  if warm then
    serve_now(ssl, entry)
  end
  bind(ssl, entry.id, entry.session_context) -- (2) after that, since a pair may bring its lender's context
  if not warm and journal.watching then
    journal.about(
      entry.name,
      "handshake begun: may resume a session, or the certificate is looked for"
    )
  end
end

--- The client-hello hook where clients are limited: one that makes too many is not looked at any further.
local function limited_hello()
  local address = client_address()
  if address and clients.exceeds(address) then
    return refuse("limited")
  end
  return hello()
end

--- `session_tickets` is how many TLS 1.3 session messages follow a full handshake. Limits cost nothing when off.
function _M.setup(session_tickets)
  tickets = session_tickets
  _M.hello = guard.watch("client_hello", clients.are_limited() and limited_hello or hello)
end

--- The certificate hook (full handshakes only; yields when Redis must be asked).
local function certificate()
  local sent = ssl_server_name()
  local entry, name = hosts.find(sent or "")
  if not entry and name then
    entry = not hosts.complete() and early.find(name) or hosts.find(name)
  end
  if not entry or not entry.active then
    return refuse("unknown", name)
  end
  local warm = entry.pair
  local pair, err = warm, nil
  if not pair then
    pair, err = certificates.pair(entry)
  end
  if not pair or not certificates.use(connection.ssl(), pair) then
    journal.change(ngx.WARN, "no certificate for " .. entry.name, tostring(err))
    return refuse("no_certificate", entry.name)
  end
  if pair ~= warm then
    journal.change(ngx.WARN, "no certificate for " .. entry.name, nil)
  end
  served(entry, pair)
end

_M.certificate = guard.watch("certificate", certificate)

return _M
