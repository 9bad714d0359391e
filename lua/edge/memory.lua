--- How this process gets memory: the heap keeps what one request gave back, so that the next need not ask the kernel.
local ffi = require("ffi")

ffi.cdef("int mallopt(int parameter, int value);")

local _M = {}

local TRIM_THRESHOLD, TOP_PAD = -1, -2
local MEGABYTE = 1048576

--- Ask for and give back memory by the megabyte (mallopt(3)); in the master, for its workers. Without glibc: nothing.
function _M.setup()
  pcall(function()
    ffi.C.mallopt(TRIM_THRESHOLD, 8 * MEGABYTE)
    ffi.C.mallopt(TOP_PAD, MEGABYTE)
  end)
end

return _M
