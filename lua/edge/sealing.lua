--- Open a sealed private key: AES-256-GCM by FFI to libcrypto, bound to hostname and public key (docs/redis.md).
local ffi = require("ffi")

local C = ffi.C

ffi.cdef([[
typedef struct evp_cipher_ctx_st EVP_CIPHER_CTX;
typedef struct evp_cipher_st EVP_CIPHER;
EVP_CIPHER_CTX *EVP_CIPHER_CTX_new(void);
const EVP_CIPHER *EVP_aes_256_gcm(void);
int EVP_DecryptInit_ex(EVP_CIPHER_CTX *ctx, const EVP_CIPHER *type, void *impl,
                       const char *key, const char *iv);
int EVP_DecryptUpdate(EVP_CIPHER_CTX *ctx, unsigned char *out, int *outl, const char *in, int inl);
int EVP_DecryptFinal_ex(EVP_CIPHER_CTX *ctx, unsigned char *outm, int *outl);
int EVP_CIPHER_CTX_ctrl(EVP_CIPHER_CTX *ctx, int type, int arg, void *ptr);
void ERR_clear_error(void);
]])

local NONCE, TAG = 12, 16
local SET_TAG = 0x11
local LARGEST = 16384

local _M = { kids = {} }

local keys = {}
local path
local next_reading = 0
local context
local length = ffi.new("int[1]")
local output = ffi.new("unsigned char[?]", LARGEST)
local tag_buffer = ffi.new("char[?]", TAG)

local function parse(text)
  local found, order = {}, {}
  for line in text:gmatch("[^\n]+") do
    local kid, encoded = line:match("^%s*([%w._-]+)%s+([%w+/=]+)%s*$")
    local key = encoded and ngx.decode_base64(encoded)
    if key and #key == 32 then
      found[kid] = key
      order[#order + 1] = kid
    elseif not line:find("^%s*#") and not line:find("^%s*$") then
      return nil, "line " .. (#order + 1) .. " is not: kid base64-of-32-bytes"
    end
  end
  if #order == 0 then
    return nil, "it holds no key"
  end
  return found, order
end

--- Read the keyring; nil and why when it cannot be (the keys read before stay).
local function read()
  local file, err = io.open(path, "r")
  if not file then
    return nil, err
  end
  local text = file:read("*a")
  file:close()
  local found, order = parse(text)
  if not found then
    return nil, order
  end
  keys, _M.kids = found, order
  return true
end

--- Read the keyring at start; stops nginx with a sentence when it is unusable.
function _M.setup(keyring)
  path = keyring
  local ok, err = read()
  if not ok then
    error("modoboa-edge: EDGE_KEYRING " .. keyring .. ": " .. tostring(err), 0)
  end
end

--- Look for new keys, at most once a second; a worker that may not read the file keeps what it has.
function _M.refresh()
  if ngx.now() >= next_reading then
    next_reading = ngx.now() + 1
    read()
  end
end

local function key_of(kid)
  if not keys[kid] then
    _M.refresh()
  end
  return keys[kid]
end

--- Split `v1:<kid>:<base64>` into kid and raw bytes; nil and why when it is not that.
function _M.split(sealed)
  local kid, encoded = sealed:match("^v1:([%w._-]+):([%w+/=]+)$")
  local raw = encoded and ngx.decode_base64(encoded)
  if not raw or #raw <= NONCE + TAG or #raw > LARGEST then
    return nil, "the key is not sealed as v1:<kid>:<base64>"
  end
  return kid, raw
end

local function decrypt(key, raw, aad)
  local size = #raw - NONCE - TAG
  ffi.copy(tag_buffer, raw:sub(-TAG), TAG)
  local body = raw:sub(NONCE + 1, -TAG - 1)
  local opened = C.EVP_DecryptInit_ex(context, C.EVP_aes_256_gcm(), nil, key, raw) == 1
    and C.EVP_DecryptUpdate(context, nil, length, aad, #aad) == 1
    and C.EVP_DecryptUpdate(context, output, length, body, size) == 1
    and C.EVP_CIPHER_CTX_ctrl(context, SET_TAG, TAG, tag_buffer) == 1
    and C.EVP_DecryptFinal_ex(context, output + size, length) == 1
  C.ERR_clear_error()
  return opened and ffi.string(output, size) or nil
end

--- The key's DER; nil and why for an unknown kid, another hostname's key, or anything changed.
function _M.open(kid, raw, hostname, spki)
  local key = key_of(kid)
  if not key then
    return nil, "the keyring has no key named " .. kid
  end
  context = context or C.EVP_CIPHER_CTX_new()
  local der = decrypt(key, raw, "v1|" .. hostname .. "|" .. spki)
  if not der then
    return nil, "the sealed key does not open for this hostname and public key"
  end
  return der
end

return _M
