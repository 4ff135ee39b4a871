-- Takes waiting orders from the stream, unless enough are on their way already. One trip, O(orders taken).
-- KEYS  1 meta  2 admitted
-- ARGV  1 consumer  2 most orders to take  3 orders that may be between claim and acknowledgement
-- Returns the entries as XREADGROUP does, or nothing. Ends the pending wake-up.
redis.call('HDEL', KEYS[1], 'awake_until')
if redis.call('EXISTS', KEYS[2]) == 0 then return {} end
redis.pcall('XGROUP', 'CREATE', KEYS[2], 'ledger', '0')
local pending = redis.call('XPENDING', KEYS[2], 'ledger')
local in_flight = pending[1]
for _, consumer in ipairs(pending[4] or {}) do
  if consumer[1] == 'unread' then in_flight = in_flight - tonumber(consumer[2]) end -- they wait for another release
end
if in_flight >= tonumber(ARGV[3]) then return {} end
local read = redis.call('XREADGROUP', 'GROUP', 'ledger', ARGV[1], 'COUNT', ARGV[2], 'STREAMS', KEYS[2], '>')
return read and read[1][2] or {}
