--- What is remembered of one TLS connection: which host its client hello named, as a number in OpenSSL's own slot.
local ffi = require("ffi")
local get_request = require("resty.core.base").get_request

local C = ffi.C

ffi.cdef([[
void *ngx_http_lua_ffi_get_req_ssl_pointer(void *r, const char **err);
int CRYPTO_get_ex_new_index(int class_index, long argl, void *argp, void *new_func,
                            void *dup_func, void *free_func);
int SSL_set_ex_data(void *ssl, int index, uintptr_t value);
uintptr_t SSL_get_ex_data(const void *ssl, int index);
]])

local CLASS_SSL = 0

local _M = {}

local slot

--- Reserve the slot; once, before the workers are made.
function _M.setup()
  slot = C.CRYPTO_get_ex_new_index(CLASS_SSL, 0, nil, nil, nil, nil)
end

--- The SSL of this handshake or request; every stream of an HTTP/2 connection has the same.
function _M.ssl()
  return C.ngx_http_lua_ffi_get_req_ssl_pointer(get_request(), nil)
end

--- A number below 2^52 for a name: the first bits of its SHA-1.
function _M.id(name)
  local a, b, c, d, e, f, g = ngx.sha1_bin(name):byte(1, 7)
  return (((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f) * 16 + g % 16
end

--- Remember whom the client hello named.
function _M.name(ssl, id)
  C.SSL_set_ex_data(ssl, slot, id)
end

--- The number of whom this connection's client hello named; 0 for nobody.
function _M.named()
  return tonumber(C.SSL_get_ex_data(_M.ssl(), slot))
end

return _M
