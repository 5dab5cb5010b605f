// os.urandom. Included by extmod/modos.c.

void entropy_fill(void *buf, size_t n);

static mp_obj_t mp_os_urandom(mp_obj_t number) {
    vstr_t vstr;
    vstr_init_len(&vstr, mp_obj_get_int(number));
    entropy_fill(vstr.buf, vstr.len);
    return mp_obj_new_bytes_from_vstr(&vstr);
}
static MP_DEFINE_CONST_FUN_OBJ_1(mp_os_urandom_obj, mp_os_urandom);
