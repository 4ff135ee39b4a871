-- Whether the orders that have joined a batch may start now: the batch before is over, or they are a whole batch. One trip, O(1).
-- KEYS  1 meta  2 admitted
-- ARGV  1 microseconds from the start of one batch to the next  2 orders that are a batch without waiting for others
-- Returns 0: the caller wakes the dispatcher; else the microseconds after which the caller, and nobody else, asks again.
local started, under_way = unpack(redis.call('HMGET', KEYS[1], 'batch_started', 'under_way'))
if not under_way or redis.call('XLEN', KEYS[2]) >= tonumber(ARGV[2]) then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local linger, since = tonumber(ARGV[1]), now - tonumber(started or '0')
local left = math.min(linger, 10 * linger - since) -- no longer than ten times: the end may never be told
if since < 0 or left <= 0 then return 0 end
local ends = now + left
redis.call('HSET', KEYS[1], 'joining_until', string.format('%.0f', ends), 'awake_until', string.format('%.0f', ends + 1000000))
return left
