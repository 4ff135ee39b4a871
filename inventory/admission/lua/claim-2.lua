-- Claims waiting orders from the stream, unless enough are in flight or the batch should still grow. O(orders claimed).
-- KEYS  1 meta  2 admitted
-- ARGV  1 consumer  2 most orders to take  3 orders that may be between claim and acknowledgement
--       4 minimum microseconds between batch starts, 0 for none  5 number of orders that start a batch at once
-- Returns the entries as XREADGROUP does; nothing, which ends the pending wake-up; or the microseconds until the next batch may
-- start. Then only the caller sends the wake-up, once may_start-2.lua says so: the chain of the batch before may take longer.
-- While a batch that the previous release claimed is in flight, its acknowledgement sends the wake-up.
local started, joining, under_way = unpack(redis.call('HMGET', KEYS[1], 'batch_started', 'joining_until', 'under_way'))
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if tonumber(joining or '0') > now and tonumber(joining) - now <= tonumber(ARGV[4] or '0') then
  if redis.call('XLEN', KEYS[2]) < tonumber(ARGV[5]) then return {} end
end
redis.call('HDEL', KEYS[1], 'awake_until', 'joining_until')
if redis.call('EXISTS', KEYS[2]) == 0 then return {} end
redis.pcall('XGROUP', 'CREATE', KEYS[2], 'ledger', '0')
local pending = redis.call('XPENDING', KEYS[2], 'ledger')
local in_flight = pending[1]
for _, consumer in ipairs(pending[4] or {}) do
  if consumer[1] == 'unread' then in_flight = in_flight - tonumber(consumer[2]) end -- these wait for another release
end
if in_flight >= tonumber(ARGV[3]) then return {} end
local linger, since = tonumber(ARGV[4] or '0'), now - tonumber(started or '0')
local waiting = redis.call('XLEN', KEYS[2]) - pending[1]
if since >= 0 and waiting > 0 and waiting < tonumber(ARGV[5] or '0') then
  local left = linger - since
  if under_way and left <= 0 then left = math.min(linger, 10 * linger - since) end
  if left > 0 then
    local ends = string.format('%.0f', now + left)
    redis.call('HSET', KEYS[1], 'joining_until', ends, 'awake_until', string.format('%.0f', ends + 1000000))
    return left
  elseif in_flight > 0 and since < 10 * linger then -- bounded, because the acknowledgement may never come
    redis.call('HSET', KEYS[1], 'awake_until', string.format('%.0f', now + 10 * linger - since))
    return {}
  end
end
local read = redis.call('XREADGROUP', 'GROUP', 'ledger', ARGV[1], 'COUNT', ARGV[2], 'STREAMS', KEYS[2], '>')
if not read then return {} end
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], 'batch_started', string.format('%.0f', now), 'under_way', 1) end
return read[1][2]
