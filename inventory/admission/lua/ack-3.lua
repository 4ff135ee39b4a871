-- Forgets orders that the ledger has recorded. One trip, O(orders). May run twice.
-- KEYS  1 meta  2 admitted  3 queued
-- ARGV  triples of entry id, customer, order id (customer '' for an entry that could not be read)
-- Returns 1 when unclaimed orders wait and nobody has been told, else 0.
for i = 1, #ARGV, 3 do
  redis.call('XACK', KEYS[2], 'ledger', ARGV[i])
  redis.call('XDEL', KEYS[2], ARGV[i])
  if ARGV[i + 1] ~= '' then unqueue(KEYS[3], ARGV[i + 1], ARGV[i + 2]) end
end
local pending = redis.pcall('XPENDING', KEYS[2], 'ledger')
if pending.err or redis.call('XLEN', KEYS[2]) <= pending[1] then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
redis.call('HSET', KEYS[1], 'awake_until', string.format('%.0f', now + 1000000))
return 1
