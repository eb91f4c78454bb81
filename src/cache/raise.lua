-- Raises the guard KEYS[1] to the version ARGV[1] (decimal text), and lets it
-- live for ARGV[2] milliseconds from now on. It never falls. Returns 1 if it
-- rose, else 0. Lua's numbers are doubles, so that versions are compared as text.
local held = redis.call('GET', KEYS[1])
local version = ARGV[1]
if held and held ~= '0' and not string.find(held, '^[1-9]%d*$') then
  return redis.error_reply('NOTVERSION the key of the guard holds something else than a version')
end
if held and (#version < #held or #version == #held and version <= held) then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return 0
end
redis.call('SET', KEYS[1], version, 'PX', ARGV[2])
return 1
