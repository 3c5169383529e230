-- wrk's side of the HTTP measurement: every request is a new gift of the next viewer.
--
-- A fresh UUIDv7 key each (48 bits of the machine's milliseconds, the rest counted from a random
-- start), made inside the measured time. TOKENS is a file with one bearer token a line, ROOM the id
-- of the room, ITEM the gift item. The last line printed is JSON for bench/http.py.

local ffi = require("ffi")
ffi.cdef [[
  typedef struct { long seconds; long nanoseconds; } gifts_timespec;
  int clock_gettime(int clock, gifts_timespec *now);
]]

local now = ffi.new("gifts_timespec")
local threads = {}

function setup(thread)
  thread:set("number", #threads)
  table.insert(threads, thread)
end

function init()
  local lines = {}
  for line in io.lines(os.getenv("TOKENS")) do
    lines[#lines + 1] = "Bearer " .. line
  end
  tokens = lines
  ffi.C.clock_gettime(0, now)
  math.randomseed(tonumber(now.nanoseconds) + number * 7919)
  position = math.random(0, #tokens - 1)
  tail = string.format("%06x", math.random(0, 2 ^ 24 - 1))
  count = 0
  path = "/v1/rooms/" .. os.getenv("ROOM") .. "/gifts"
  body = '{"item_id":"' .. os.getenv("ITEM") .. '","quantity":1}'
  headers = { ["Content-Type"] = "application/json" }
end

function request()
  count = count + 1
  position = (position + 1) % #tokens
  ffi.C.clock_gettime(0, now)
  local time = tonumber(now.seconds) * 1000 + math.floor(tonumber(now.nanoseconds) / 1000000)
  local high = math.floor(time / 65536)
  headers["Authorization"] = tokens[position + 1]
  headers["Idempotency-Key"] = string.format(
    "%08x-%04x-7%03x-8%03x-%s%06x",
    high, time % 65536, count % 4096, number, tail, count % 16777216
  )
  return wrk.format("POST", path, headers, body)
end

function done(summary, latency)
  io.write(string.format(
    '{"requests": %d, "seconds": %.6f, "p50": %.6f, "p99": %.6f, "refused": %d, "broken": %d}\n',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e6, latency:percentile(99) / 1e6,
    summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  ))
end
